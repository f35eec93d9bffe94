"""Constraints on inputs, on every path that scores."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import Plan
from predictions.models import Prediction
from predictions.serving import shadows
from predictions.testing.fake_models import INPUTS, ROW, VALUE, MakeFake, all_faces
from predictions.testing.fake_models import fake_version as fake_version
from registry.models import Alias, AliasShadow, ModelVersion
from registry.runtimes.base import InferenceError

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/predictions/"
# ROW is [1.0, 2.0].
VIOLATED = {"feature": "features[1]", "max": 1.5}
FLAG = "features[1]:max"
MESSAGE = "Must be at most 1.5, not 2.0."


def zeros(count: int) -> dict[str, Any]:
    return {"value": np.zeros(count)}


def constrain(version: ModelVersion, *constraints: dict[str, object]) -> ModelVersion:
    version.refresh_from_db()
    signature: Any = version.signature
    signature["inputs"] = [{**INPUTS[0], "constraints": list(constraints)}]
    ModelVersion.objects.filter(pk=version.pk).update(signature=signature)
    version.refresh_from_db()
    return version


@pytest.fixture
def version(fake_version: MakeFake) -> ModelVersion:
    version = fake_version([VALUE], zeros)
    version.refresh_from_db()
    return version


@pytest.fixture
def flagging(version: ModelVersion) -> ModelVersion:
    return constrain(version, {**VIOLATED, "on_violation": "flag"})


@pytest.fixture
def rejecting(version: ModelVersion) -> ModelVersion:
    return constrain(version, VIOLATED)


def copy_of(version: ModelVersion) -> ModelVersion:
    return ModelVersion.objects.create(
        name=version.name,
        version="2",
        framework=version.framework,
        artifact=version.artifact,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        signature=version.signature,
    )


def post(client: APIClient, version: ModelVersion, features: Sequence[float]) -> Any:
    return client.post(URL, {"model_id": version.pk, "input_data": {"features": features}})


def lines_of(response: Any) -> list[Any]:
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def test_every_path_answers_and_flags(client: APIClient, flagging: ModelVersion) -> None:
    faces = all_faces(client, flagging, 2)

    assert {name: face.status_code for name, face in faces.items()} == {
        "single": 201,
        "batch": 201,
        "ndjson": 200,
        "v2": 200,
        "v1": 200,
        "invocations": 200,
    }
    assert faces["single"].json()["flags"] == [FLAG]
    assert [row["flags"] for row in faces["batch"].json()] == [[FLAG]] * 2
    assert [line["flags"] for line in lines_of(faces["ndjson"])[:-1]] == [[FLAG]] * 2
    assert json.loads(faces["v2"].json()["parameters"]["flags"]) == [[FLAG]] * 2
    recorded = list(Prediction.objects.values_list("flags", flat=True))
    assert recorded == [[FLAG]] * 11


def test_every_path_rejects(client: APIClient, rejecting: ModelVersion) -> None:
    faces = all_faces(client, rejecting, 2)

    [*results, summary] = lines_of(faces.pop("ndjson"))
    assert results == [{"line": line, "errors": {"features[1]": [MESSAGE]}} for line in (1, 2)]
    assert summary["summary"]["succeeded"] == 0
    for name, face in faces.items():
        assert face.status_code == 400, name
        assert MESSAGE.removesuffix(".") in face.content.decode(), name
        assert "[1]" in face.content.decode(), name
    assert faces["single"].json()["errors"] == {"input_data.features[1]": [MESSAGE]}
    assert Prediction.objects.count() == 0


def test_a_valid_row_has_no_flags(client: APIClient, flagging: ModelVersion) -> None:
    assert post(client, flagging, [1, 1.5]).json()["flags"] is None
    assert Prediction.objects.get().flags is None


def test_only_the_invalid_lines_of_a_stream_are_rejected(
    client: APIClient, rejecting: ModelVersion
) -> None:
    rows = [[1, 1], [1, 2], ["a", 1], [2, 1], [1, 3]]
    body = "".join(json.dumps({"features": row}) + "\n" for row in rows)
    response: Any = client.generic(
        "POST", f"{URL}batch/?model_id={rejecting.pk}", body, "application/x-ndjson"
    )

    results = lines_of(response)[:-1]
    assert ["errors" in result for result in results] == [False, True, True, False, True]
    stored = Prediction.objects.order_by("id").values_list("input_data__features", flat=True)
    assert list(stored) == [[1, 1], [2, 1]]


def test_a_batch_names_the_first_rejected_input(client: APIClient, rejecting: ModelVersion) -> None:
    inputs = [{"features": [1, 1]}, {"features": [1, 2]}, {"features": [1, 3]}]
    response: Any = client.post(f"{URL}batch/", {"model_id": rejecting.pk, "inputs": inputs})

    assert response.status_code == 400
    assert response.json()["errors"] == {"inputs[1].features[1]": [MESSAGE]}
    assert Prediction.objects.count() == 0


def test_flags_stay_with_their_rows(client: APIClient, flagging: ModelVersion) -> None:
    inputs = [{"features": [1, value]} for value in (1, 2, 1, 3)]
    response: Any = client.post(f"{URL}batch/", {"model_id": flagging.pk, "inputs": inputs})

    assert [row["flags"] for row in response.json()] == [None, [FLAG], None, [FLAG]]


def test_a_failed_prediction_keeps_its_flags(client: APIClient, fake_version: MakeFake) -> None:
    def fail(count: int) -> dict[str, Any]:
        raise InferenceError("no")

    version = constrain(
        fake_version([VALUE], fail, batching="joined"), {**VIOLATED, "on_violation": "flag"}
    )

    assert post(client, version, ROW).status_code == 422
    row = Prediction.objects.get()
    assert (row.status, row.flags) == ("failed", [FLAG])


def test_flags_can_be_read_and_filtered(client: APIClient, flagging: ModelVersion) -> None:
    flagged, plain = (post(client, flagging, row).json()["id"] for row in (ROW, [0, 0]))

    for value, expected in (("true", flagged), ("false", plain)):
        page = client.get(URL, {"flagged": value}).json()
        assert [row["id"] for row in page] == [expected]
    by_name = client.get(URL, {"flagged": "true", "model": "odd"}).json()
    assert [(row["id"], row["flags"]) for row in by_name] == [(flagged, [FLAG])]
    assert client.get(f"{URL}{flagged}/").json()["flags"] == [FLAG]
    assert client.get(URL, {"flagged": "perhaps"}).status_code == 400


def test_a_shadow_is_held_to_its_own_constraints(client: APIClient, version: ModelVersion) -> None:
    flags = {**VIOLATED, "on_violation": "flag"}
    shadow = constrain(copy_of(version), flags, {"max": 1.9})
    AliasShadow.objects.create(alias=Alias.objects.get(), version=shadow)

    response = client.post(URL, {"model": "odd", "input_data": {"features": ROW}})

    assert response.status_code == 201
    deadline = time.monotonic() + 20
    while not (rows := list(Prediction.objects.filter(arm="shadow"))) or shadows.backlog._busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Recorded as failed, since it would be after a promotion.
    assert [(row.status, row.flags) for row in rows] == [("failed", [FLAG])]
    assert rows[0].error == "features: Must be at most 1.9, not 2.0."


def test_a_replay_counts_what_would_be_rejected(
    client: APIClient, version: ModelVersion, user: User
) -> None:
    post(client, version, ROW)
    post(client, version, [0, 0])
    stricter = constrain(copy_of(version), VIOLATED)

    replay = runner.run_now(Plan(from_version=version, to_version=stricter), created_by=user)

    results = replay.results.order_by("original_id").values_list("status", "error")
    assert list(results) == [("refused", f"features[1]: {MESSAGE}"), ("compared", "")]
