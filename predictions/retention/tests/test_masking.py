"""Sensitive values: scored as they are, and never recorded, on any path."""

import json
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import InputsMasked, Plan
from predictions.models import Prediction, Replay
from predictions.serving import shadows
from predictions.serving.answers import MASKED_ERROR
from predictions.testing.faces import answers_of_every_face
from predictions.testing.rows import wait_until_followable
from registry.loading import loader
from registry.models import Alias, AliasShadow, ModelVersion
from registry.runtimes.base import InferenceError
from registry.signatures.masking import keyed_hash
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/predictions/"
# Of the features bmi and age.
BMI, AGE = 0.0616962065, 0.0380759064


@pytest.fixture
def masked(diabetes: ModelVersion) -> ModelVersion:
    """A version whose log has bmi hashed and no age."""
    signature: Any = diabetes.signature
    signature["inputs"][0]["sensitive"] = {"bmi": "hash", "age": "omit"}
    diabetes.save()
    return diabetes


@pytest.fixture
def row(masked: ModelVersion) -> dict[str, float]:
    signature: Any = masked.signature
    names = signature["inputs"][0]["features"]
    return {**dict.fromkeys(names, 0.01), "bmi": BMI, "age": AGE}


@pytest.fixture
def masked_row(row: dict[str, float], settings: LazySettings) -> dict[str, Any]:
    settings.MASKING_KEY = "a key for tests"
    return {**row, "bmi": keyed_hash(BMI, b"a key for tests"), "age": None}


def logged_text() -> str:
    return json.dumps(list(Prediction.objects.values()), default=str)


def wait_for_shadows() -> None:
    deadline = time.monotonic() + 20
    while shadows.backlog._busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_true_values_are_scored_and_the_masked_ones_recorded(
    client: APIClient,
    masked: ModelVersion,
    row: dict[str, float],
    masked_row: dict[str, Any],
    diabetes_artifact: Artifact,
) -> None:
    body = client.post(URL, {"model_id": masked.pk, "input_data": row}).json()

    expected = diabetes_artifact.model.predict([list(row.values())])[0]
    assert body["prediction"] == pytest.approx(expected, rel=1e-6)
    assert client.get(f"{URL}{body['id']}/").json()["input_data"] == masked_row


def test_every_face_masks(
    client: APIClient, masked: ModelVersion, row: dict[str, float], masked_row: dict[str, Any]
) -> None:
    faces = answers_of_every_face(client, masked, [list(row.values())] * 2)

    answers = [
        value for columns in faces.values() for values in columns.values() for value in values
    ]
    assert answers == pytest.approx([answers[0]] * 10)
    recorded = list(Prediction.objects.values_list("input_data", flat=True))
    assert len(recorded) == 10
    for input_data in recorded:
        values = input_data.get("features", [*input_data.values()])
        assert values == list(masked_row.values())
    assert str(BMI) not in logged_text()


def test_the_command_masks(masked: ModelVersion, row: Any, masked_row: Any) -> None:
    out = StringIO()
    call_command("predict", "diabetes:1", json.dumps(row), stdout=out)

    assert json.loads(out.getvalue())["input_data"] == masked_row
    assert Prediction.objects.get().input_data == masked_row


@pytest.fixture
def shadow(
    make_version: MakeVersion, diabetes_artifact: Artifact, masked: ModelVersion
) -> Iterator[ModelVersion]:
    """A shadow of the masked version that calls nothing sensitive itself."""
    version = make_version("diabetes", diabetes_artifact, version="2")
    alias = Alias.objects.create(name="diabetes", alias="champion", version=masked)
    AliasShadow.objects.create(alias=alias, version=version)
    yield version
    wait_for_shadows()


def test_a_shadow_scores_the_true_values_and_records_the_masked_ones(
    client: APIClient, shadow: ModelVersion, row: Any, masked_row: Any
) -> None:
    answered = client.post(URL, {"model": "diabetes", "input_data": row}).json()
    wait_for_shadows()

    copy = Prediction.objects.get(arm="shadow")
    assert copy.prediction == answered["prediction"]
    assert copy.input_data == masked_row


def test_metadata_keys_are_masked_by_the_setting(
    client: APIClient, iris: ModelVersion, settings: LazySettings
) -> None:
    settings.SENSITIVE_METADATA = {"email": "hash", "phone": "omit"}
    settings.MASKING_KEY = "a key for tests"
    metadata = {"email": "ada@example.org", "phone": "0228", "campaign": 7}
    hashed = {"email": keyed_hash("ada@example.org", b"a key for tests"), "campaign": 7}
    features = {"features": [5.1, 3.5, 1.4, 0.2]}

    single = client.post(
        URL, {"model_id": iris.pk, "input_data": features, "metadata": metadata}
    ).json()
    batch = client.post(
        f"{URL}batch/", {"model_id": iris.pk, "inputs": [features] * 2, "metadata": metadata}
    ).json()

    # The response says what the log says.
    assert [body["metadata"] for body in (single, *batch)] == [hashed] * 3
    assert list(Prediction.objects.values_list("metadata", flat=True)) == [hashed] * 3


def test_imported_metadata_is_masked(db: None, tmp_path: Path, settings: LazySettings) -> None:
    settings.SENSITIVE_METADATA = {"phone": "omit"}
    path = tmp_path / "rows.ndjson"
    path.write_text('{"input_data": {}, "metadata": {"phone": "0228", "a": 1}}')

    call_command(
        "import_predictions", str(path), "--name=old", "--version=1", "--framework=R",
        stdout=StringIO(),
    )  # fmt: skip

    assert Prediction.objects.get().metadata == {"a": 1}


def test_a_failure_does_not_quote_the_input(
    client: APIClient, masked: ModelVersion, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise InferenceError(f"cannot compute {BMI}")

    client.post(URL, {"model_id": masked.pk, "input_data": row})
    model = loader.find(masked.pk)
    assert model is not None
    monkeypatch.setattr(type(model.runtime), "predict", fail)

    response = client.post(URL, {"model_id": masked.pk, "input_data": row})

    assert response.status_code == 422
    assert MASKED_ERROR in response.json()["detail"]
    assert str(BMI) not in logged_text()


def test_a_repeated_request_gets_its_answer(
    client: APIClient, masked: ModelVersion, row: Any
) -> None:
    body = {"model_id": masked.pk, "input_data": row}
    headers = {"Idempotency-Key": "k"}

    first = client.post(URL, body, headers=headers)
    second = client.post(URL, body, headers=headers)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_masked_inputs_cannot_be_replayed(
    masked: ModelVersion, shadow: ModelVersion, client: APIClient, row: Any, user: User
) -> None:
    client.post(URL, {"model": "diabetes", "input_data": row})
    wait_for_shadows()

    with pytest.raises(InputsMasked, match=r"diabetes:1 are masked \(bmi, age\)"):
        runner.run_now(Plan(from_version=masked, to_version=shadow), created_by=user)
    with pytest.raises(CommandError, match="cannot be replayed"):
        call_command("replay", "--from=diabetes:1", "--to=diabetes:2", stdout=StringIO())
    assert not Replay.objects.exists()
    # A shadow's rows are copies of masked ones.
    replay = runner.run_now(Plan(from_version=shadow, to_version=masked), created_by=user)
    assert replay.rows_done == 0


def test_exports_have_the_masked_values_and_say_so(
    client: APIClient, masked: ModelVersion, row: Any, masked_row: Any, tmp_path: Path
) -> None:
    client.post(URL, {"model_id": masked.pk, "input_data": row})

    wait_until_followable()
    call_command(
        "export_predictions", str(tmp_path / "out"), "--format=ndjson", "--inputs=columns",
        stdout=StringIO(),
    )  # fmt: skip

    exported = json.loads((tmp_path / "out" / "part-00001.ndjson").read_text())
    assert exported["input_data"] is None
    assert exported["input.bmi"] == masked_row["bmi"]
    assert exported["input.age"] is None
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    masked_columns = {c["name"]: c["masked"] for c in manifest["columns"] if c["masked"]}
    assert masked_columns == {"input.bmi": "hash", "input.age": "omit"}
