"""A run from its request to its manifest: what the command and the job have in common."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.utils import timezone

from predictions.export.destinations import open_destination
from predictions.export.destinations.base import Destination
from predictions.export.formats import FORMATS
from predictions.scoring.engines.base import Engine
from predictions.scoring.planning import Plan, checked, divide
from predictions.scoring.runner import Run, resume_or_start
from predictions.scoring.runs.pinning import pin
from predictions.scoring.sources import find_sources
from predictions.scoring.work import Instructions, Receipt, ScoringFailed, Source
from registry.exact_json.values import JSONObject

PART_ROWS = 250_000


def _ignore(amount: object) -> None:
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
        if self.with_canary and self.subject_column is None:
            raise ScoringFailed(
                "--canary needs --subject-column: the subject of a row chooses the version that"
                " answers it"
            )


@dataclass(slots=True)
class Watch:
    """Called as a run goes on: with bytes of inputs read for the plan, once with the plan and the
    rows that an earlier run has done, and with each new receipt.
    """

    read: Callable[[int], object] = field(default=_ignore)
    planned: Callable[[Plan, Sequence[Receipt]], object] = field(default=lambda plan, done: None)
    done: Callable[[Receipt], object] = field(default=_ignore)


def find_inputs(request: Request) -> list[Source]:
    """The input files, by name; raises ScoringFailed."""
    return find_sources(request.sources)


def plan_run(request: Request, sources: Sequence[Source], watch: Watch) -> Plan:
    """The plan of a run as things are now; raises ScoringFailed, FormatUnavailable and what `pin`
    raises.
    """
    FORMATS[request.format].load()
    instructions = Instructions(
        arms=pin(request.model, with_canary=request.with_canary).arms,
        destination=request.destination,
        format=request.format,
        id_column=request.id_column,
        subject_column=request.subject_column,
    )
    instructions = checked(instructions, sources)
    identified, tasks = divide(sources, request.part_rows, watch.read)
    return Plan(
        run=secrets.token_hex(16),
        instructions=instructions,
        sources=identified,
        tasks=tasks,
        model=request.model,
        is_recorded=request.is_recorded,
        mlapi=settings.VERSION,
        started_at=timezone.now().isoformat(),
    )


def carry_out(plan: Plan, engine: Engine, watch: Watch) -> tuple[JSONObject, bool]:
    """The manifest of the run, and whether it was complete already.

    Raises ScoringFailed, ScoringInterrupted, DestinationUnavailable and EngineUnavailable.
    """
    destination = open_destination(plan.instructions.destination)
    with destination.lock():
        plan, manifest = resume_or_start(destination, plan)
        run = Run(plan, destination)
        if manifest is not None:
            run.clean()
            return manifest, True
        return _carry_out(run, destination, engine, watch), False


def _carry_out(run: Run, destination: Destination, engine: Engine, watch: Watch) -> JSONObject:
    done = run.receipts()
    watch.planned(run.plan, list(done.values()))
    receipts = run.do(engine, done, watch.done)
    return run.seal(receipts, timezone.now().isoformat())
