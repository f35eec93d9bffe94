"""A run is done once, whatever interrupts it, and its result is of one plan only."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from rest_framework.test import APIClient

from predictions.export.destinations.folder import Folder
from predictions.scoring import models
from predictions.scoring.runner import OtherRun
from predictions.scoring.runs.requests import Request
from predictions.scoring.runs.tests.conftest import N_ROWS, InlineEngine, answers, score
from predictions.scoring.work import ScoringFailed
from registry.exact_json.values import JSONObject
from registry.models import Alias, ModelNotFound, ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

MakeRequest = Callable[..., Request]
RECEIPT = "_part-00001.receipt.json"


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def test_rows_get_the_answers_of_the_api(
    request_for: MakeRequest, champion: ModelVersion, client: APIClient
) -> None:
    request = request_for()

    manifest, was_complete = score(request)

    rows = answers(request.destination)
    assert not was_complete
    assert (manifest["rows"], manifest["failed"], len(manifest["parts"])) == (N_ROWS, 1, 3)
    assert [row["flower"] for row in rows] == [f"f{number}" for number in range(N_ROWS)]
    assert [row["row"] for row in rows] == list(range(1, N_ROWS + 1))
    assert {row["sha256"] for row in rows} == {champion.sha256}
    assert (rows[33]["status"], rows[33]["prediction"]) == ("invalid", None)
    assert rows[33]["error"].startswith("features[2]: Must not be null")
    [error] = manifest["errors"]
    assert (error["row"], error["error"]) == (34, rows[33]["error"])


def test_a_second_run_says_that_it_is_complete(request_for: MakeRequest) -> None:
    first, _ = score(request_for())
    engine = InlineEngine()

    again, was_complete = score(request_for(), engine)

    assert was_complete
    assert again == first
    assert engine.numbers == []
    assert names(request_for().destination) == {
        "_manifest.json",
        *(part["name"] for part in first["parts"]),
    }


def test_an_interrupted_run_goes_on_where_it_was(request_for: MakeRequest, tmp_path: Path) -> None:
    expected, _ = score(request_for(destination=str(tmp_path / "other")))
    with pytest.raises(KeyboardInterrupt):
        score(request_for(), InlineEngine(fail_after=1))
    engine = InlineEngine()

    manifest, _ = score(request_for(part_rows=5), engine)

    assert engine.numbers == [2, 3]
    assert manifest["sha256"] == expected["sha256"]


def test_a_part_without_a_receipt_is_made_again(
    request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Folder, name: str, content: bytes) -> None:
        if name.startswith("_part"):
            raise KeyboardInterrupt
        create(folder, name, content)

    create = Folder.create
    monkeypatch.setattr(Folder, "create", killed)
    with pytest.raises(KeyboardInterrupt):
        score(request_for())
    # What another worker with other libraries could have left.
    stray = Path(request_for().destination) / "part-00002-0123456789abcdef.parquet"
    stray.write_bytes(b"stray")
    monkeypatch.undo()

    manifest, _ = score(request_for())

    assert manifest["rows"] == len(answers(request_for().destination)) == N_ROWS
    assert not stray.exists()


def test_only_the_first_receipt_of_a_part_counts(
    request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has the same part, and is quicker."""
    publish = Folder.publish_once

    def publish_once(self: Folder, path: Path, name: str) -> None:
        if name.startswith("part-00001") and not (path.parent / RECEIPT).exists():
            other = {"number": 1, "name": "part-00001-other.parquet", "rows": 20, "failed": 0}
            sizes = {"size_bytes": 1, "sha256": "0" * 64, "errors": []}
            times = {"seconds": 1, "peak_memory_mib": 1}
            (path.parent / "part-00001-other.parquet").write_bytes(b"x")
            (path.parent / RECEIPT).write_text(json.dumps(other | sizes | times))
        publish(self, path, name)

    monkeypatch.setattr(Folder, "publish_once", publish_once)

    manifest, _ = score(request_for())

    found = sorted(Path(request_for().destination).glob("part-*"))
    assert [part["name"] for part in manifest["parts"]] == [path.name for path in found]
    assert found[0].name == "part-00001-other.parquet"


def test_other_inputs_or_options_into_the_same_folder_are_refused(
    request_for: MakeRequest, table: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(request_for(), InlineEngine(fail_after=1))
    (table.parent / "b.parquet").write_bytes(table.read_bytes())

    refused: list[tuple[dict[str, Any], str]] = [
        ({"sources": [str(table.parent / "*.parquet")]}, "other inputs"),
        ({"format": "csv"}, "another format"),
        ({"id_column": None}, "another id column"),
        ({"is_recorded": True}, "no recording"),
    ]
    for changes, message in refused:
        with pytest.raises(OtherRun, match=message):
            score(request_for(**changes))
    score(request_for())
    with pytest.raises(OtherRun, match="other inputs"):
        score(request_for(sources=[str(table.parent / "*.parquet")]))


def test_the_version_of_a_run_stays_the_same(
    request_for: MakeRequest, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(request_for(), InlineEngine(fail_after=1))
    other = make_version("iris", iris_artifact, version="2")
    Alias.objects.update(version=other)

    with pytest.raises(OtherRun, match="another version: iris:1"):
        score(request_for())
    manifest, _ = score(request_for(model="iris:1"))

    assert manifest["rows"] == N_ROWS


def test_an_artifact_that_changed_is_not_used(
    request_for: MakeRequest, champion: ModelVersion, model_path: Path
) -> None:
    path = model_path / champion.artifact
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    models._load.cache_clear()

    with pytest.raises(ScoringFailed, match="changed"):
        score(request_for())


def test_an_input_that_changes_meanwhile_ends_the_run(
    request_for: MakeRequest, table: Path
) -> None:
    class Editor(InlineEngine):
        def run(self, orders: Iterator[JSONObject]) -> Iterator[JSONObject]:
            for receipt in super().run(orders):
                table.touch()
                yield receipt

    with pytest.raises(ScoringFailed, match="was changed while it was being scored"):
        score(request_for(), Editor())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ["/nowhere/*.parquet"]}, "there is no file /nowhere"),
        ({"id_column": "none"}, "no column 'none'"),
        ({"id_column": "features[0]"}, "it must have texts or whole numbers"),
        ({"format": "xlsx"}, "--format: must be one of"),
        ({"with_canary": True}, "--canary needs --subject-column"),
        ({"is_recorded": True, "format": "csv"}, "--record needs --format parquet"),
    ],
)
def test_what_cannot_be_scored_leaves_nothing(
    request_for: MakeRequest, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ScoringFailed, match=message):
        score(request_for(**changes))

    assert not Path(request_for().destination).exists()


@pytest.mark.parametrize("column", ["features", "features[0]", "input.features[0]"])
def test_a_sensitive_feature_is_no_id_and_no_recorded_subject(
    request_for: MakeRequest, champion: ModelVersion, column: str
) -> None:
    champion.signature["inputs"][0]["sensitive"] = "omit"
    champion.save()

    with pytest.raises(ScoringFailed, match=r"--id-column: .* is a sensitive feature"):
        score(request_for(id_column=column))
    with pytest.raises(ScoringFailed, match=r"--subject-column: .* is a sensitive feature"):
        score(request_for(subject_column=column, is_recorded=True))


def test_a_feature_beside_a_sensitive_one_can_be_the_id(
    request_for: MakeRequest, champion: ModelVersion, table: Path
) -> None:
    names = [f"f{number}" for number in range(4)]
    champion.signature["inputs"][0] |= {"features": names, "sensitive": {"f1": "omit"}}
    champion.save()
    rows = parquet.read_table(table).rename_columns([*names, "flower"])
    values = rows["f0"].combine_chunks().cast("int64", safe=False)
    parquet.write_table(rows.set_column(0, "f0", values), table)

    with pytest.raises(ScoringFailed, match="sensitive feature"):
        score(request_for(id_column="f1"))
    score(request_for(id_column="f0"))

    assert [row["f0"] for row in answers(request_for().destination)] == values.to_pylist()


def test_a_missing_model_is_reported(request_for: MakeRequest) -> None:
    with pytest.raises(ModelNotFound, match="nobody@champion"):
        score(request_for(model="nobody"))


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_the_result_can_be_text(request_for: MakeRequest, format: str) -> None:
    score(request_for())
    expected = answers(request_for().destination)
    folder = Path(request_for().destination).with_name(format)
    score(request_for(destination=str(folder), format=format))
    parts = sorted(folder.glob(f"part-*.{format}"))
    lines = [line for part in parts for line in part.read_text().splitlines()]
    rows = len(lines) - (len(parts) if format == "csv" else 0)
    assert rows == N_ROWS
    if format == "ndjson":
        assert [json.loads(line)["prediction"] for line in lines] == [
            row["prediction"] for row in expected
        ]


def test_inputs_can_be_text(request_for: MakeRequest, table: Path) -> None:
    score(request_for())
    expected = answers(request_for().destination)
    rows = parquet.read_table(table).to_pylist()
    header = list(rows[0])
    cells = [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    table.with_suffix(".csv").write_text("\n".join([",".join(header), *cells]))
    objects = [
        {"features": [row[f"features[{i}]"] for i in range(4)], "flower": row["flower"]}
        for row in rows
    ]
    table.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, objects)))

    for suffix, before in ((".csv", 1), (".jsonl", 0)):
        folder = f"{request_for().destination}{suffix}"
        score(request_for(sources=[str(table.with_suffix(suffix))], destination=folder))
        found = answers(folder)
        assert [row["row"] - before for row in found] == [row["row"] for row in expected]
        for column in ("flower", "status", "prediction", "confidence", "output.label"):
            assert [row[column] for row in found] == [row[column] for row in expected]
