"""Importing outcomes from files, and pruning them with their predictions."""

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from predictions.management.commands import import_outcomes
from predictions.models import Outcome, Prediction
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_predictions,
    make_version,
)
from registry.models import ModelVersion


@pytest.fixture
def classifier(db: None) -> ModelVersion:
    return make_version(classifier_signature([False, True]), "classifier")


def import_file(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    out = StringIO()
    call_command("import_outcomes", str(path), stdout=out, stderr=StringIO())
    return out.getvalue()


def import_error(path: Path, text: str) -> str:
    """Why the import failed; nothing may have been recorded."""
    with pytest.raises(CommandError) as caught:
        import_file(path, text)
    assert not Outcome.objects.exists()
    return str(caught.value)


def test_ndjson_is_imported_and_importing_it_again_changes_nothing(
    classifier: ModelVersion, tmp_path: Path
) -> None:
    first, _ = create_predictions(classifier, [0.0, 1.0], reference="r")
    rows = [
        {"prediction_id": first.pk, "label": True, "observed_at": "2026-03-01T00:00:00Z"},
        {"reference": "r", "label": False},
    ]
    text = "\n\n".join(map(json.dumps, rows))

    assert "Recorded 3 outcomes; 0 had been recorded before" in import_file(
        tmp_path / "a.ndjson", text
    )
    assert "Recorded 0 outcomes; 3 had been recorded before" in import_file(
        tmp_path / "a.ndjson", text
    )

    assert Outcome.objects.count() == 3
    assert Outcome.objects.latest_per_prediction().get(prediction=first).label is False


def test_csv_is_imported(classifier: ModelVersion, tmp_path: Path) -> None:
    regressor = make_version(REGRESSOR_SIGNATURE, "regressor")
    [flag] = create_predictions(classifier, [0.0], reference="007")
    [number] = create_predictions(regressor, [1.0])

    import_file(
        tmp_path / "a.CSV",
        "\ufeffprediction_id,reference,value,label,observed_at\n,007,,true,2026-03-01\n".replace(
            "2026-03-01", "2026-03-01T00:00:00Z"
        )
        + f"{number.pk},,2.5,,\n",
    )

    assert Outcome.objects.get(prediction=flag).label is True
    assert Outcome.objects.get(prediction=flag).observed_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert Outcome.objects.get(prediction=number).value == 2.5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.ndjson", '{"reference": "r", "label": true}\n\n{"reference": "r"}', "line 3: value:"),
        (
            "a.ndjson",
            '{"reference": "r", "label": true}\n{"reference": "s", "label": true}',
            "line 2: reference: No prediction has the reference 's'",
        ),
        (
            "a.ndjson",
            '{"reference": "r", "label": true}\n{"reference": "r", "label": "maybe"}',
            "line 2: label: Must be one of 'False', 'True'",
        ),
        ("a.ndjson", '{"reference": "r", "label": true}\n{', "line 2"),
        ("a.ndjson", '{"reference": "r", "label": true}\n[]', "line 2: Must be an object"),
        ("a.csv", "reference,label\nr,true\nr\n", "line 3"),
        ("a.csv", "reference,value\nr,much\n", "line 2: value: Must be a number"),
        ("a.csv", "reference,label,colour\nr,true,red\n", "line 2: colour: Unknown field"),
        ("a.csv", "reference,label\nr\0,true\n", "line 2"),
    ],
)
def test_an_invalid_line_is_named_and_nothing_is_imported(
    classifier: ModelVersion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    message: str,
) -> None:
    # Every line is its own chunk: the chunks recorded before are rolled back.
    monkeypatch.setattr(import_outcomes, "CHUNK_ROWS", 1)
    create_predictions(classifier, [0.0], reference="r")

    assert message in import_error(tmp_path / name, text)


def test_a_missing_file_is_reported(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Cannot read"):
        call_command("import_outcomes", str(tmp_path / "none.csv"))


def test_pruning_deletes_outcomes_in_a_fixed_number_of_statements(
    classifier: ModelVersion,
) -> None:
    regressor = make_version(REGRESSOR_SIGNATURE, "regressor")

    def count_statements(n: int) -> int:
        add_values(create_predictions(regressor, [1.0] * n), [1.0] * n)
        out = StringIO()
        with CaptureQueriesContext(connection) as queries:
            call_command(
                "prune_predictions",
                "--before=2027-01-01",
                f"--model-id={regressor.pk}",
                stdout=out,
                stderr=StringIO(),
            )
        assert f"Deleted {n} predictions" in out.getvalue()
        return len(queries)

    kept = create_predictions(classifier, [1.0])
    add_labels(kept, [True])

    assert count_statements(90) == count_statements(3)
    assert [row.pk for row in kept] == list(Prediction.objects.values_list("pk", flat=True))
    assert Outcome.objects.get().prediction_id == kept[0].pk
