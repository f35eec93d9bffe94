"""A run that goes on finds its artifact, trusts no document, and leaves a complete result alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from predictions.export.destinations.base import AlreadyPublished
from predictions.export.destinations.folder import Folder
from predictions.scoring.doing import do
from predictions.scoring.runner import OtherRun
from predictions.scoring.runs.requests import Request
from predictions.scoring.runs.tests.conftest import (
    N_ROWS,
    InlineEngine,
    answers,
    move_artifact,
    score,
)
from predictions.scoring.work import ScoringInterrupted
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion

MakeRequest = Callable[..., Request]


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def test_a_run_goes_on_after_its_artifact_was_moved(
    request_for: MakeRequest, champion: ModelVersion, model_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(request_for(), InlineEngine(fail_after=1))
    move_artifact(champion, model_path)

    manifest, _ = score(request_for())

    assert manifest["rows"] == N_ROWS
    assert manifest["instructions"]["arms"]["primary"]["key"] == champion.artifact


def test_an_artifact_that_is_moved_during_a_run_interrupts_it(
    request_for: MakeRequest, champion: ModelVersion, model_path: Path
) -> None:
    class Mover(InlineEngine):
        def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
            for receipt in super().run(orders):
                if len(self.numbers) == 1:
                    move_artifact(champion, model_path)
                yield receipt

    with pytest.raises(ScoringInterrupted, match="iris:1 is no longer in"):
        score(request_for(), Mover())

    assert score(request_for())[0]["rows"] == N_ROWS


def test_a_signature_that_was_changed_meanwhile_is_another_run(
    request_for: MakeRequest, champion: ModelVersion
) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(request_for(), InlineEngine(fail_after=1))
    champion.signature["inputs"][0]["sensitive"] = "omit"
    champion.save()

    with pytest.raises(OtherRun, match="another signature of iris:1"):
        score(request_for())


def test_a_changed_plan_decides_neither_what_is_loaded_nor_where_is_written(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    """Others may be able to write to the destination."""
    with pytest.raises(KeyboardInterrupt):
        score(request_for(), InlineEngine(fail_after=1))
    path = Path(request_for().destination) / "_plan.json"
    plan = json.loads(path.read_text())
    plan["instructions"]["destination"] = str(tmp_path / "elsewhere")
    plan["instructions"]["arms"]["primary"] |= {
        "storage": str(tmp_path / "evil"),
        "cache": str(tmp_path / "evil"),
        "trusted_types": ["os.system"],
        "isolation": "never",
    }
    path.write_text(json.dumps(plan))

    manifest, _ = score(request_for())

    assert manifest["rows"] == len(answers(request_for().destination)) == N_ROWS
    assert not (tmp_path / "elsewhere").exists()
    primary = manifest["instructions"]["arms"]["primary"]
    assert str(tmp_path / "evil") not in primary.values()
    assert "os.system" not in primary["trusted_types"]


def test_a_complete_run_removes_what_killed_workers_were_writing(request_for: MakeRequest) -> None:
    class Killed(InlineEngine):
        def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
            folder = Path(request_for().destination)
            (folder / ".part-00001.parquet.0123456789abcdef.partial").write_bytes(b"PAR1")
            return super().run(orders)

    manifest, _ = score(request_for(), Killed())

    assert names(request_for().destination) == {
        "_manifest.json",
        *(part["name"] for part in manifest["parts"]),
    }


def orders_of(request: Request) -> list[JSONObject]:
    """Those that an engine was given."""
    orders: list[JSONObject] = []

    class Keeper(InlineEngine):
        def run(self, given: Iterator[JSONObject]) -> Iterator[JSONObject]:
            orders.extend(given)
            return super().run(iter(orders))

    score(request, Keeper())
    return orders


def test_a_late_worker_adds_nothing_to_a_complete_result(request_for: MakeRequest) -> None:
    """A cluster goes on for a moment after its driver was killed."""
    orders = orders_of(request_for())
    before = names(request_for().destination)

    with pytest.raises(ScoringInterrupted, match="was completed by another process"):
        do(orders[0])

    assert names(request_for().destination) == before


def test_a_worker_whose_receipt_was_cleaned_up_says_so(
    request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(folder: Folder, name: str, content: bytes) -> None:
        (Path(str(folder)) / "_manifest.json").write_text("{}")
        raise AlreadyPublished(name)

    orders = orders_of(request_for())
    for path in Path(request_for().destination).iterdir():
        path.unlink()
    monkeypatch.setattr(Folder, "create", create)

    with pytest.raises(ScoringInterrupted, match="was completed by another process"):
        do(orders[0])
