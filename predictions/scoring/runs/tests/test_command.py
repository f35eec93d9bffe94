"""The command score, from its options to the table."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pyarrow import parquet

from predictions.export.destinations import open_destination
from predictions.scoring.runs import running
from predictions.scoring.runs.tests.conftest import N_ROWS, InlineEngine, answers, move_artifact
from predictions.scoring.sources import objects
from registry.models import Alias, ModelVersion
from registry.object_storage.client import PATIENT, connect, obstore
from registry.storage import files, moving
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

Score = Callable[..., str]


@pytest.fixture
def score(table: Path, champion: ModelVersion) -> Score:
    """Runs the command; returns what it wrote."""

    def run(destination: object, *options: str, source: object = table) -> str:
        out = StringIO()
        call_command(
            "score",
            *(f"--from={source}", f"--to={destination}", "--model=iris", "--id-column=flower"),
            *("--part-rows=20", "--workers=1", *options),
            stdout=out,
            stderr=out,
        )
        return out.getvalue()

    return run


@pytest.mark.slow
def test_a_table_is_scored_once_by_a_process_of_its_own(score: Score, tmp_path: Path) -> None:
    first = score(tmp_path / "out")
    again = score(tmp_path / "out")

    assert f"{N_ROWS} rows answered by iris:1 in 3 parts. SHA-256" in first
    assert "a.parquet, row 34: features[2]: Must not be null" in first
    assert "1 of 60 rows have an error instead of an answer" in first
    assert "is complete" in first
    assert "was already complete" in again
    assert [row["flower"] for row in answers(tmp_path / "out")] == [f"f{i}" for i in range(N_ROWS)]


def test_resume_goes_on_with_the_versions_that_it_began_with(
    score: Score,
    tmp_path: Path,
    make_version: MakeVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine(fail_after=1))
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "out")
    Alias.objects.update(version=make_version("iris", iris_artifact, version="2"))
    engine = InlineEngine()
    monkeypatch.setattr(running, "open_engine", lambda options: engine)

    with pytest.raises(CommandError, match="another version: iris:1"):
        score(tmp_path / "out")
    text = score(tmp_path / "out", "--resume")

    assert engine.numbers == [2, 3]
    assert "Continuing after 20 rows in 1 of 3 parts." in text
    assert f"{N_ROWS} rows answered by iris:1 in 3 parts" in text
    assert "was already complete" in score(tmp_path / "out", "--resume")


def test_resume_finds_an_artifact_that_was_moved(
    score: Score,
    tmp_path: Path,
    champion: ModelVersion,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine(fail_after=1))
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "out")
    move_artifact(champion, model_path)
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine())

    assert f"{N_ROWS} rows answered by iris:1" in score(tmp_path / "out", "--resume")


def test_resume_needs_a_run_of_the_model_and_an_active_version(
    score: Score, tmp_path: Path, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "open_engine", lambda options: InlineEngine(fail_after=1))
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "out")

    with pytest.raises(CommandError, match="has a run of iris:1"):
        score(tmp_path / "out", "--resume", "--model=fraud@champion")
    ModelVersion.objects.update(is_active=False)
    with pytest.raises(CommandError, match="not found or inactive"):
        score(tmp_path / "out", "--resume")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "has no run that could go on"),
        (["--canary"], "--canary needs --subject-column"),
        (["--tls-ca=ca.pem"], "--tls-ca, --tls-cert and --tls-key belong together"),
        (["--workers=0"], "'0' is not a whole number above 0"),
        (["--scheduler=tls://127.0.0.1:1"], "add --engine dask"),
    ],
)
def test_mistakes_are_explained(
    score: Score, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        score(tmp_path / "out", *options)

    assert not list(tmp_path.glob("out/*"))


@pytest.mark.slow
def test_inputs_the_model_and_the_result_can_be_in_object_storage(
    in_bucket: str,
    score: Score,
    table: Path,
    tmp_path: Path,
    champion: ModelVersion,
    model_path: Path,
) -> None:
    assert moving.move(champion, files.store_at(in_bucket))
    champion.refresh_from_db()
    assert champion.artifact.startswith(in_bucket)
    (model_path / "iris" / "1" / "model.skops").unlink()
    objects._client.cache_clear()
    client: Any = connect(in_bucket, PATIENT)
    obstore.put(client, "data/a.parquet", table)

    text = score(f"{in_bucket}/out", source=f"{in_bucket}/data/*.parquet")

    assert f"{N_ROWS} rows answered by iris:1 in 3 parts" in text
    score(tmp_path / "out")
    destination = open_destination(f"{in_bucket}/out")
    rows: list[dict[str, Any]] = []
    for name in sorted(name for name in destination.names() if name.startswith("part-")):
        with destination.local(name) as path:
            rows += parquet.read_table(path).to_pylist()
    assert {row.pop("file") for row in rows} == {f"{in_bucket}/data/a.parquet"}
    expected = answers(tmp_path / "out")
    assert rows == [{k: v for k, v in row.items() if k != "file"} for row in expected]
    # The worker has verified it and keeps it; the next one need not fetch it.
    assert any(champion.sha256 in path.name for path in model_path.glob(".cache/*"))
    # Another file of that size in the place of the artifact is not loaded.
    for path in model_path.glob(".cache/*"):
        path.unlink()
    key = champion.artifact.removeprefix(f"{in_bucket}/")
    obstore.put(client, key, b"x" * (champion.size_bytes or 0))
    with pytest.raises(CommandError, match=r"iris:1: .*(changed|damaged)"):
        score(f"{in_bucket}/other", source=f"{in_bucket}/data/*.parquet")
