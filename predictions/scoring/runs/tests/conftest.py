"""Scores tables of irises in this process, without workers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from predictions.scoring import models
from predictions.scoring.engines.base import receipt_in, reply_to
from predictions.scoring.runs import running
from predictions.scoring.runs.requests import COMMAND, Asker, Request, Watch
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelVersion
from registry.storage.stores.base import new_key

N_ROWS = 60


class InlineEngine:
    """Does orders here; `numbers` are those of the parts that it did."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.numbers: list[int] = []
        self._fail_after = fail_after

    def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
        for order in orders:
            if self._fail_after is not None and len(self.numbers) >= self._fail_after:
                raise KeyboardInterrupt
            self.numbers.append(order["task"]["number"])
            yield receipt_in(reply_to(order))


@pytest.fixture
def champion(iris: ModelVersion) -> ModelVersion:
    Alias.objects.create(name="iris", alias="champion", version=iris)
    return iris


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Irises in row groups of ten, with ids and one row that has no answer."""
    random = np.random.default_rng(0)
    values = random.uniform(0.1, 7, (N_ROWS, 4)).round(2)
    columns: dict[str, Any] = {f"features[{i}]": values[:, i].tolist() for i in range(4)}
    columns["features[2]"][33] = None
    columns["flower"] = [f"f{number}" for number in range(N_ROWS)]
    folder = tmp_path / "data"
    folder.mkdir()
    parquet.write_table(pa.table(columns), folder / "a.parquet", row_group_size=10)
    return folder / "a.parquet"


@pytest.fixture
def request_for(tmp_path: Path, table: Path, champion: ModelVersion) -> Callable[..., Request]:
    """A request for the table's answers; takes what is different."""
    usual = Request(
        sources=[str(table)],
        destination=str(tmp_path / "out"),
        model="iris",
        id_column="flower",
        part_rows=20,
    )
    return lambda **changes: replace(usual, **changes)


def score(request: Request, engine: Any = None, caller: Asker = COMMAND) -> tuple[JSONObject, bool]:
    """The manifest, and whether it was complete before."""
    sources = running.find_inputs(request)
    plan = running.plan_run(request, sources, Watch())
    return running.carry_out(plan, engine or InlineEngine(), Watch(), caller)


def move_artifact(version: ModelVersion, model_path: Path) -> None:
    """As move_artifacts with --delete-source does."""
    key = new_key(version.sha256, Path(version.artifact).suffix)
    (model_path / key).parent.mkdir(parents=True)
    (model_path / version.artifact).rename(model_path / key)
    version.artifact = key
    version.save()
    models._load.cache_clear()


def answers(folder: str | Path) -> list[dict[str, Any]]:
    paths = sorted(Path(folder).glob("part-*.parquet"))
    return [row for path in paths for row in parquet.read_table(path).to_pylist()]
