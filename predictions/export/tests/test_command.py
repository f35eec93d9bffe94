"""manage.py export_predictions: what it writes, that it resumes, and that it repeats itself."""

import csv
import json
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from predictions.export import runner
from predictions.export.formats.spreadsheet import original_text
from predictions.models import Outcome, Prediction
from predictions.testing.rows import (
    NOON,
    create_predictions,
    make_version,
    wait_until_followable,
)
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion

# Only committed rows are exported.
pytestmark = pytest.mark.django_db(transaction=True)

SIGNATURE: JSONObject = {
    "inputs": [
        {"name": "age", "datatype": "INT64", "shape": [-1]},
        {"name": "income", "datatype": "FP32", "shape": [-1], "nullable": True},
        {"name": "city", "datatype": "BYTES", "shape": [-1]},
        {"name": "embedding", "datatype": "FP64", "shape": [-1, 3]},
    ],
    "outputs": [],
}
ROW = {"age": 41, "income": 0.1, "city": "Köln", "embedding": [1.0, 2.0, 0.1]}


def export(folder: Path, *options: str) -> str:
    wait_until_followable()
    out = StringIO()
    call_command("export_predictions", str(folder), *options, stdout=out)
    return out.getvalue()


def manifest_of(folder: Path) -> JSONObject:
    manifest: JSONObject = json.loads((folder / "_manifest.json").read_text())
    return manifest


def record(version: ModelVersion, *inputs: object, **fields: Any) -> list[Prediction]:
    return [
        create_predictions(version, [0.5], input_data=input_data, **fields)[0]
        for input_data in inputs
    ]


@pytest.fixture
def version(transactional_db: None) -> ModelVersion:
    return make_version(SIGNATURE)


def ndjson(folder: Path) -> list[JSONObject]:
    return [
        json.loads(line)
        for part in sorted(folder.glob("*.ndjson"))
        for line in part.read_text().splitlines()
    ]


def test_a_row_has_its_version_input_and_latest_outcome(
    version: ModelVersion, tmp_path: Path
) -> None:
    [row] = record(version, ROW, metadata={"a": 1e300}, output={"label": "x"}, subject="17")
    Outcome.objects.create(prediction=row, value=1.0)
    Outcome.objects.create(prediction=row, value=2.5, observed_at=NOON)

    export(tmp_path / "out", "--format=ndjson", "--inputs=both")

    [exported] = ndjson(tmp_path / "out")
    assert exported["id"] == row.pk
    assert (exported["model"], exported["version"], exported["subject"]) == ("m", "1", "17")
    assert exported["created_at"] == "2026-01-01T12:00:00Z"
    assert (exported["metadata"], exported["output"]) == ({"a": 1e300}, {"label": "x"})
    assert (exported["outcome.value"], exported["outcome.label"]) == (2.5, None)
    assert exported["outcome.observed_at"] == "2026-01-01T12:00:00Z"
    assert exported["input_data"] == ROW
    assert {name: exported[f"input.{name}"] for name in ROW} == ROW


@pytest.mark.parametrize(
    "input_data",
    [
        {**ROW, "age": 2**63},
        {**ROW, "age": 1.5},
        {**ROW, "income": 2**53 + 1},
        {**ROW, "city": 7},
        {**ROW, "more": 1},
        {"features": [1, 2]},
        [1, 2],
    ],
)
def test_an_input_that_does_not_fit_the_columns_exactly_stays_json(
    version: ModelVersion, tmp_path: Path, input_data: object
) -> None:
    record(version, ROW, input_data)

    export(tmp_path / "out", "--format=ndjson", "--inputs=columns")

    fitting, misfit = ndjson(tmp_path / "out")
    assert fitting["input_data"] is None
    assert fitting["input.age"] == 41
    assert misfit["input_data"] == input_data
    assert {misfit[f"input.{name}"] for name in ROW} == {None}


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 3.0])
def test_integers_are_exact(version: ModelVersion, tmp_path: Path, value: object) -> None:
    record(version, {**ROW, "age": value})

    export(tmp_path / "out", "--format=ndjson", "--inputs=columns")

    assert ndjson(tmp_path / "out")[0]["input.age"] == value


def test_versions_with_other_signatures_share_columns(
    version: ModelVersion, tmp_path: Path
) -> None:
    other = make_version(
        {
            "inputs": [
                {"name": "age", "datatype": "FP64", "shape": [-1]},
                {"name": "city", "datatype": "INT64", "shape": [-1]},
            ]
        },
        "other",
    )
    imported = make_version(None, "imported")
    record(version, ROW)
    record(other, {"features": [41.5, 7]})
    record(imported, {"anything": 1})

    export(tmp_path / "out", "--format=ndjson", "--inputs=columns")

    datatypes = {c["name"]: c["datatype"] for c in manifest_of(tmp_path / "out")["columns"]}
    assert (datatypes["input.age"], datatypes["input.city"]) == ("FP64", "JSON")
    first, second, third = ndjson(tmp_path / "out")
    assert (first["input.age"], first["input.city"]) == (41.0, "Köln")
    assert (second["input.age"], second["input.city"], second["input.income"]) == (41.5, 7, None)
    assert (third["input.age"], third["input_data"]) == (None, {"anything": 1})


def test_an_input_without_feature_names_is_a_column_of_lists(
    transactional_db: None, tmp_path: Path
) -> None:
    version = make_version({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]})
    record(version, {"features": [1, 2.5, 3]}, {"x": [1.0, 2.0, 3.0]}, {"features": [1, 2]})

    export(tmp_path / "out", "--format=ndjson", "--inputs=columns")

    rows = ndjson(tmp_path / "out")
    assert [row["input.x"] for row in rows] == [[1.0, 2.5, 3.0], [1.0, 2.0, 3.0], None]
    assert [row["input_data"] for row in rows] == [None, None, {"features": [1, 2]}]


def test_rows_are_filtered_as_the_list_filters_them(version: ModelVersion, tmp_path: Path) -> None:
    record(version, ROW, reference="a")
    record(version, ROW, reference="b")
    record(make_version(None, "other"), {}, reference="b")

    export(tmp_path / "out", "--format=ndjson", "--reference=b", f"--model-id={version.pk}")

    assert [row["reference"] for row in ndjson(tmp_path / "out")] == ["b"]
    assert manifest_of(tmp_path / "out")["filter"] == {
        "model_id": str(version.pk),
        "reference": "b",
    }


def test_the_manifest_has_counts_and_digests(version: ModelVersion, tmp_path: Path) -> None:
    record(version, *[ROW] * 5)

    output = export(tmp_path / "out", "--format=csv", "--part-rows=2")

    manifest = manifest_of(tmp_path / "out")
    parts = sorted((tmp_path / "out").glob("part-*"))
    assert [part["rows"] for part in manifest["parts"]] == [2, 2, 1]
    assert [part["name"] for part in manifest["parts"]] == [part.name for part in parts]
    digests = [sha256(part.read_bytes()).hexdigest() for part in parts]
    assert [part["sha256"] for part in manifest["parts"]] == digests
    listed = "".join(f"{d}  {p.name}\n" for d, p in zip(digests, parts, strict=True))
    assert manifest["sha256"] == sha256(listed.encode()).hexdigest()
    assert manifest["sha256"] in output
    assert manifest["rows"] == 5
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "_manifest.json",
        *(part.name for part in parts),
    }


@pytest.mark.parametrize("format", ["parquet", "csv", "ndjson"])
def test_a_second_export_of_the_same_rows_is_equal(
    version: ModelVersion, tmp_path: Path, format: str
) -> None:
    record(version, *[ROW] * 7)

    for name in ("one", "two"):
        export(tmp_path / name, f"--format={format}", "--part-rows=3")

    assert manifest_of(tmp_path / "one")["sha256"] == manifest_of(tmp_path / "two")["sha256"]


def test_an_interrupted_export_is_continued(
    version: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(version, *[ROW] * 5)
    options = ("--format=ndjson", "--part-rows=2")
    export(tmp_path / "whole", *options)
    publish = runner._publish

    def break_off(destination: Any, name: str, document: JSONObject) -> None:
        if name == "_part-00002.receipt.json":
            raise KeyboardInterrupt
        publish(destination, name, document)

    monkeypatch.setattr(runner, "_publish", break_off)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "out", *options)
    monkeypatch.undo()
    # Later rows are none of its business.
    record(version, ROW, created_at=datetime(2025, 1, 1, tzinfo=UTC))

    assert "Continuing after 2 rows in 1 parts" in export(tmp_path / "out", *options)

    assert manifest_of(tmp_path / "out")["sha256"] == manifest_of(tmp_path / "whole")["sha256"]
    assert "was already complete: 5 rows" in export(tmp_path / "out", *options)


def test_another_export_in_the_same_place_is_refused(version: ModelVersion, tmp_path: Path) -> None:
    record(version, ROW)
    export(tmp_path / "out")

    with pytest.raises(CommandError, match="complete export with other options"):
        export(tmp_path / "out", "--format=csv")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    with pytest.raises(CommandError, match="is not empty: it has notes"):
        export(tmp_path / "full")


def test_an_export_goes_on_where_another_ended(version: ModelVersion, tmp_path: Path) -> None:
    record(version, ROW, reference="first")
    export(tmp_path / "one", "--format=ndjson")
    record(version, ROW, reference="second")
    end = manifest_of(tmp_path / "one")["positions"]["to"]

    export(tmp_path / "two", "--format=ndjson", f"--from-position={end}")

    assert [row["reference"] for row in ndjson(tmp_path / "two")] == ["second"]


def test_an_empty_export_has_one_part_without_rows(version: ModelVersion, tmp_path: Path) -> None:
    export(tmp_path / "out", "--format=csv")

    assert [part["rows"] for part in manifest_of(tmp_path / "out")["parts"]] == [0]
    assert (tmp_path / "out" / "part-00001.csv").read_text().startswith('"id","created_at"')


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model-id=x", "--model-id: A valid integer is required."),
        ("--status=odd", "--status:"),
        ("--part-rows=0", "not a whole number above 0"),
        ("--format=xml", "invalid choice"),
    ],
)
def test_an_invalid_option_is_named(db: None, tmp_path: Path, option: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        export(tmp_path / "out", option)
    assert not (tmp_path / "out").exists()


HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",  # noqa: RUF001
    "＠x",  # noqa: RUF001
    "'quoted",
    'a"b,c;d',
    "line\r\nbreak",
    "\u202eevil",
    "",
    "-5e3",
]


def test_hostile_text_in_csv_is_harmless_and_comes_back(
    version: ModelVersion, tmp_path: Path
) -> None:
    for text in HOSTILE:
        record(version, {**ROW, "city": text}, reference=text)

    export(tmp_path / "out", "--format=csv")

    with (tmp_path / "out" / "part-00001.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    cells = [row["input.city"] for row in rows]
    assert [original_text(cell) for cell in cells] == HOSTILE
    assert [original_text(row["reference"]) for row in rows] == HOSTILE
    dangerous = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
    assert not any(cell.startswith(dangerous) for row in rows for cell in row.values() if cell)


def test_numbers_in_csv_stay_numbers_and_null_differs_from_empty_text(
    version: ModelVersion, tmp_path: Path
) -> None:
    record(version, {**ROW, "age": -5, "income": None, "city": ""})

    export(tmp_path / "out", "--format=csv")

    [line] = (tmp_path / "out" / "part-00001.csv").read_text().splitlines()[1:]
    assert line.endswith(',-5,,"","[1.0,2.0,0.1]"')
