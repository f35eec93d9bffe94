"""What a run is asked to do. Can be imported without pyarrow, which scoring itself needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from predictions.export.formats import FORMATS
from predictions.scoring.work import EngineUnavailable, Receipt, ScoringFailed

if TYPE_CHECKING:
    from predictions.scoring.planning import Plan

PART_ROWS = 250_000


def _ignore(amount: object) -> None:
    """For a caller that wants no progress."""


def _ignore_plan(plan: object, done: object) -> None:
    """For a caller that wants no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be scored, by what, and where the result goes."""

    sources: Sequence[str]
    destination: str
    model: str
    format: str = "parquet"
    id_column: str | None = None
    subject_column: str | None = None
    with_canary: bool = False
    is_recorded: bool = False
    part_rows: int = PART_ROWS

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ScoringFailed(f"--format: must be one of {', '.join(FORMATS)}")
        if self.is_recorded and self.format != "parquet":
            raise ScoringFailed(
                "--record needs --format parquet, which holds answers as exactly as the log does"
            )
        if self.with_canary and self.subject_column is None:
            raise ScoringFailed(
                "--canary needs --subject-column: the subject of a row chooses the version that"
                " answers it"
            )


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a run, for the rows that it records; a command has neither."""

    user_id: int | None = None
    api_key_id: int | None = None


COMMAND = Asker()


@dataclass(slots=True)
class Watch:
    """Called as a run goes on: with bytes of inputs read for the plan, once with the plan and the
    rows that an earlier run has done, with each new receipt, and with numbers of recorded rows.
    """

    read: Callable[[int], object] = _ignore
    planned: "Callable[[Plan, Sequence[Receipt]], object]" = _ignore_plan
    done: Callable[[Receipt], object] = _ignore
    recorded: Callable[[int], object] = _ignore


def running_module() -> Any:
    """The module that carries requests out; raises EngineUnavailable."""
    try:
        # On first use, as runtimes are: pyarrow is heavy, and optional.
        return import_module("predictions.scoring.runs.running")
    except ModuleNotFoundError as error:
        message = f"Scoring tables needs {error.name}: pip install 'mlapi[parquet]'"
        raise EngineUnavailable(message) from error
