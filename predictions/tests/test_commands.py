"""The commands import_predictions, prune_predictions and predict."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from predictions.models import Prediction
from predictions.retention import pruning
from registry.models import Alias, ModelVersion
from registry.testing.artifacts import Artifact

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

MakeVersion = Callable[..., ModelVersion]


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def import_file(path: Path, *options: str) -> str:
    return run_command(
        "import_predictions", str(path), "--name=old", "--version=1", "--framework=R", *options
    )


def import_error(path: Path) -> str:
    """Why the import failed; nothing may have been written."""
    with pytest.raises(CommandError) as caught:
        import_file(path)
    assert (ModelVersion.objects.count(), Prediction.objects.count()) == (0, 0)
    return str(caught.value)


# -- import_predictions


def test_ndjson_is_imported_with_all_fields(db: None, tmp_path: Path) -> None:
    document = {
        "input_data": {"age": 1e20, "city": "Köln"},
        "prediction": 0.5,
        "confidence": 0.9,
        "output": {"label": "yes"},
        "metadata": {"by": "R"},
        "latency_ms": 1.5,
        "request_id": "a-1",
        "created_at": "2025-06-01T10:00:00+02:00",
    }
    failed = {"input_data": {}, "status": "failed", "error": "no"}
    path = write(tmp_path / "a.ndjson", f"{json.dumps(document)}\n\n{json.dumps(failed)}")

    output = import_file(path, '--metrics={"r2": 0.5}', '--tags={"a": 1}', "--description=Old")

    version = ModelVersion.objects.get()
    row, other = Prediction.objects.order_by("id")
    assert f"Imported 2 predictions of old:1 (id {version.pk})" in output
    assert (version.framework, version.metrics, version.tags) == ("R", {"r2": 0.5}, {"a": 1})
    assert {name: getattr(row, name) for name in document} == {
        **document,
        "created_at": datetime(2025, 6, 1, 8, tzinfo=UTC),
    }
    assert (other.status, other.error) == ("failed", "no")


def test_csv_is_imported_with_one_column_per_feature(db: None, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.CSV",
        "input.age,input.city,input.code,prediction,created_at\n"
        '41,"Köln, Süd",007,0.5,2025-06-01T10:00:00Z\n'
        ",,1e5,,2025-06-01T11:00:00Z\n",
    )

    import_file(path)

    first, second = Prediction.objects.order_by("id")
    assert first.input_data == {"age": 41, "city": "Köln, Süd", "code": "007"}
    assert first.prediction == 0.5
    assert second.input_data == {"age": None, "city": None, "code": 1e5}
    assert second.prediction is None


def test_csv_columns_may_hold_json(db: None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'input_data,output\n"{""a"": 1}","{""label"": ""x""}"\n')

    import_file(path)

    row = Prediction.objects.get()
    assert (row.input_data, row.output) == ({"a": 1}, {"label": "x"})


def test_a_byte_order_mark_is_ignored(db: None, tmp_path: Path) -> None:
    import_file(write(tmp_path / "a.csv", "\ufeffinput.age,prediction\n1,2\n"))

    assert Prediction.objects.get().input_data == {"age": 1}


def test_more_rows_than_a_chunk_are_imported(db: None, tmp_path: Path) -> None:
    lines = "".join(f'{{"input_data": {{"i": {i}}}}}\n' for i in range(2001))

    assert "Imported 2001 predictions" in import_file(write(tmp_path / "a.ndjson", lines))
    assert Prediction.objects.count() == 2001


GOOD = '{"input_data": {}}\n'


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{GOOD}{GOOD}{{", "line 3: is not valid JSON"),
        (f"{GOOD}\n[1]\n", "line 3: "),
        (f'{GOOD}{{"prediction": 1}}\n', "line 2: input_data: This field is required."),
        (f'{GOOD}{{"input_data": {{}}, "predicton": 1}}\n', "line 2: predicton: Unknown field."),
        (f'{GOOD}{{"input_data": {{}}, "prediction": "NaN"}}\n', "line 2: prediction: "),
        (f'{GOOD}{{"input_data": {{}}, "prediction": NaN}}\n', "line 2: is not valid JSON"),
        (f'{GOOD}{{"input_data": {{"x": 18446744073709551617}}}}\n', "line 2: is not valid JSON"),
        (f'{GOOD}{{"input_data": {{"x": "\\u0000"}}}}\n', "line 2: is not valid JSON"),
        (f'{GOOD}{{"input_data": {{}}, "confidence": 2}}\n', "line 2: confidence: "),
        (f'{GOOD}{{"input_data": {{}}, "error": "x"}}\n', "line 2: error: "),
        (f'{GOOD}{{"input_data": {{}}, "status": "failed"}}\n', "line 2: error: "),
        (f'{GOOD}{{"input_data": {{}}, "created_at": "then"}}\n', "line 2: created_at: "),
        (GOOD * 1200 + "?\n", "line 1201: is not valid JSON"),
    ],
    ids=lambda text: text[-40:],
)
def test_an_invalid_line_is_named_and_nothing_is_imported(
    tmp_path: Path, text: str, message: str
) -> None:
    error = import_error(write(tmp_path / "a.ndjson", text))

    assert f"a.ndjson, {message}" in error
    assert error.endswith("Nothing was imported.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input.a,prediction\n1,2\n1\n", "line 3: has a different number of cells"),
        ("input.a,prediction\n1,2\n1,2,3\n", "line 3: has a different number of cells"),
        ("input.a,prediction\n1,2\n1,x\n", "line 3: prediction: "),
        ("input.a,prediction\n1,nan\n", "line 2: prediction: "),
        ('input.a,prediction\n"a\nb",2\n1,x\n', "line 4: prediction: "),
        ("input.a,predicton\n1,2\n", "line 2: predicton: Unknown field."),
        ('input.a,input_data\n1,"{}"\n', "line 2: has both input_data and input.* columns"),
        ("input_data\n{\n", "line 2: input_data is not valid JSON"),
        ("input.a\n18446744073709551617\n", "line 2: "),
        ('input.a\n"x\n', "line 2: "),
        ('input.a\n"x"y\n', "line 2: "),
        ("prediction\n1\n", "line 2: input_data: This field is required."),
    ],
)
def test_an_invalid_csv_row_is_named_and_nothing_is_imported(
    tmp_path: Path, text: str, message: str
) -> None:
    assert f"a.csv, {message}" in import_error(write(tmp_path / "a.csv", text))


def test_an_existing_version_is_refused(iris: ModelVersion, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", GOOD)

    with pytest.raises(CommandError, match=r"iris:1 already exists\. Nothing was imported"):
        run_command("import_predictions", str(path), "--name=iris", "--version=1", "--framework=R")


@pytest.mark.parametrize("option", ["--name=../x", "--metrics={", "--tags=[]", "--version="])
def test_invalid_options_are_named(db: None, tmp_path: Path, option: str) -> None:
    path = write(tmp_path / "a.ndjson", GOOD)

    with pytest.raises(CommandError, match=option.split("=")[0]):
        import_file(path, option)

    assert ModelVersion.objects.count() == 0


def test_an_unreadable_file_is_refused(db: None, tmp_path: Path) -> None:
    assert "Cannot read" in import_error(tmp_path / "missing.csv")
    (tmp_path / "latin.csv").write_bytes("input.city\nKöln\n".encode("latin-1"))
    assert "Cannot read" in import_error(tmp_path / "latin.csv")


# -- prune_predictions


def record(version: ModelVersion, n: int) -> None:
    Prediction.objects.bulk_create(
        Prediction(model=version, input_data={}, created_at=NOON + timedelta(hours=i))
        for i in range(n)
    )


def remaining_times() -> list[datetime]:
    return list(Prediction.objects.order_by("created_at").values_list("created_at", flat=True))


@pytest.mark.parametrize(
    "before", ["2026-01-01T14:00:00Z", "2026-01-01T15:00+01:00", "2026-01-01 14:00"]
)
def test_only_older_predictions_are_deleted(iris: ModelVersion, before: str) -> None:
    record(iris, 4)

    output = run_command("prune_predictions", f"--before={before}")

    assert "Deleted 2 predictions" in output
    assert remaining_times() == [NOON + timedelta(hours=2), NOON + timedelta(hours=3)]


def test_a_date_means_the_start_of_the_day(iris: ModelVersion) -> None:
    record(iris, 14)

    run_command("prune_predictions", "--before=2026-01-02")

    assert remaining_times() == [NOON + timedelta(hours=12), NOON + timedelta(hours=13)]


def test_only_predictions_of_one_version_are_deleted(
    iris: ModelVersion, make_version: MakeVersion
) -> None:
    other = make_version("other")
    record(iris, 2)
    record(other, 2)

    run_command("prune_predictions", "--before=2027-01-01", f"--model-id={iris.pk}")

    assert set(Prediction.objects.values_list("model_id", flat=True)) == {other.pk}


def test_many_predictions_are_deleted_in_chunks(
    iris: ModelVersion, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(pruning, "CHUNK_ROWS", 3)
    record(iris, 7)

    # Per chunk: two for the savepoint, the legal holds, the IDs, the hours to be counted again, and
    # the deletions. Three chunks and an empty one; before them, on PostgreSQL, whether the log has
    # partitions; then idempotency keys, the audit trail, and the holds to tell of.
    n_queries = 53 if connection.vendor == "postgresql" else 52
    with django_assert_num_queries(n_queries) as captured:
        assert "Deleted 7 predictions" in run_command("prune_predictions", "--before=2027-01-01")

    assert sum('DELETE FROM "predictions"' in query["sql"] for query in captured) == 3
    assert Prediction.objects.count() == 0


@pytest.mark.parametrize("before", ["yesterday", "2026-13-01", "", "2026-01-01T25:00"])
def test_an_invalid_time_is_refused(db: None, before: str) -> None:
    with pytest.raises(CommandError, match="is not a date"):
        run_command("prune_predictions", f"--before={before}")


# -- predict


@pytest.fixture
def champion(iris: ModelVersion) -> Alias:
    return Alias.objects.create(name="iris", alias="champion", version=iris)


@pytest.mark.parametrize("specifier", ["iris", "iris@champion", "iris:1"])
@pytest.mark.parametrize("row", ['{"features": [5.1, 3.5, 1.4, 0.2]}', "[5.1, 3.5, 1.4, 0.2]"])
def test_an_input_is_scored_recorded_and_printed(champion: Alias, specifier: str, row: str) -> None:
    printed = json.loads(run_command("predict", specifier, row))

    recorded = Prediction.objects.get()
    assert printed["id"] == recorded.pk
    assert printed["output"]["label"] == "setosa"
    assert printed["input_data"] == recorded.input_data == {"features": [5.1, 3.5, 1.4, 0.2]}
    assert printed["user"] is None


def test_the_input_is_read_from_standard_input(
    champion: Alias, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("[5.1, 3.5, 1.4, 0.2]"))

    assert json.loads(run_command("predict", "iris", "-"))["output"]["label"] == "setosa"


@pytest.mark.parametrize(
    ("specifier", "row", "message"),
    [
        ("wine", "[1]", "Model wine@champion not found: no such alias"),
        ("iris:2", "[1]", "Model iris:2 not found or inactive"),
        ("iris", "[1]", "Must hold 4 values, not 1"),
        ("iris", "{", "not valid JSON"),
        ("iris", "5", "must be a list of features"),
        ("iris", "[NaN, 1, 2, 3]", "not valid JSON"),
        ("bare:1", "[1]", "has no artifact yet"),
    ],
)
def test_the_reason_for_a_refusal_is_printed(
    champion: Alias, make_version: MakeVersion, specifier: str, row: str, message: str
) -> None:
    make_version("bare")

    with pytest.raises(CommandError, match=message):
        run_command("predict", specifier, row)

    assert Prediction.objects.count() == 0


def test_a_failure_of_the_model_is_printed_and_recorded(
    mixed: ModelVersion, mixed_artifact: Artifact
) -> None:
    with pytest.raises(CommandError, match="failed on this input"):
        run_command("predict", "mixed:1", json.dumps({**mixed_artifact.row, "city": "Paris"}))

    assert Prediction.objects.get().status == "failed"
