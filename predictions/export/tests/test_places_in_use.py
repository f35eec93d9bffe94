"""An export never continues or replaces what is not its own."""

from pathlib import Path

import orjson
import pytest

from predictions.export import runner
from predictions.export.destinations.base import AlreadyPublished
from predictions.export.destinations.folder import Folder
from predictions.export.manifest import Plan
from predictions.export.selection import Positions

PLAN = Plan(
    filter={},
    format="ndjson",
    inputs="json",
    part_rows=10,
    positions=Positions(0, 1),
    columns=[],
    mlapi="0",
    started_at="2026-11-30T00:00:00+00:00",
)
SCORED_TABLE = orjson.dumps({"run": "0", "instructions": {}, "tasks": []})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


def test_a_complete_scored_table_is_refused(folder: Folder) -> None:
    folder.create("_manifest.json", SCORED_TABLE)

    with pytest.raises(runner.OtherExport, match="out has a scored table"):
        runner.find_manifest(folder, PLAN)


def test_an_unfinished_scored_table_is_refused(folder: Folder) -> None:
    folder.create("_plan.json", SCORED_TABLE)

    with pytest.raises(runner.OtherExport, match="out has a scored table"):
        runner.resume_or_start(folder, PLAN)


def test_the_second_of_two_exports_that_begin_at_once_is_told(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket, no lock keeps it away."""

    def create(folder: Folder, name: str, content: bytes) -> None:
        raise AlreadyPublished(name)

    monkeypatch.setattr(Folder, "create", create)

    with pytest.raises(runner.ExportTaken, match="Another process is writing the same export"):
        runner.resume_or_start(folder, PLAN)
