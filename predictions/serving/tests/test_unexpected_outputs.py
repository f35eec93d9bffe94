"""A model whose outputs are not of the shape that was proved: a failure that every face records and
reports, never a 500, an empty body or a cut answer.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from predictions.models import Prediction
from registry.loading import loader
from registry.models import Alias, ModelVersion
from registry.runtimes.base import LoadOptions, Outputs
from registry.signatures.signature import Signature
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

ROW = [1.0, 2.0]
INPUTS = [{"name": "features", "datatype": "FP64", "shape": [-1, 2]}]
VALUE = {"name": "value", "datatype": "FP64", "shape": [-1], "kind": "value"}
BOXES = {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4], "kind": "value"}
LABEL = {"name": "label", "datatype": "INT64", "shape": [-1], "kind": "label", "classes": [0, 1]}
CHANCES = {
    "name": "chances",
    "datatype": "FP64",
    "shape": [-1, 2],
    "kind": "probabilities",
    "classes": [0, 1],
}
Predict = Callable[[int], dict[str, Any]]


class FakeRuntime:
    """Answers n rows with the arrays of `predict(n)`."""

    libraries: Mapping[str, str] = {}

    def __init__(self, signature: Signature, predict: Predict) -> None:
        self.signature = signature
        self._predict = predict

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        return self._predict(len(inputs["features"]))


class FakeLibrary:
    """A runtime module, at the edge of the process: no file has such outputs any more."""

    def __init__(self, signature: Signature, predict: Predict) -> None:
        self._runtime = FakeRuntime(signature, predict)

    def load(self, path: object, options: LoadOptions) -> FakeRuntime:
        return self._runtime


@pytest.fixture
def register(
    make_version: MakeVersion, iris_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ModelVersion]:
    """A version `odd:1` with these outputs, whose runtime answers as `predict` does."""

    def make(outputs: list[dict[str, object]], predict: Predict, **fields: str) -> ModelVersion:
        document = {"inputs": INPUTS, "outputs": outputs, **fields}
        version = make_version("odd", iris_artifact)
        ModelVersion.objects.update(signature=document)
        Alias.objects.create(name="odd", alias="champion", version=version)
        library = FakeLibrary(Signature.from_json(document), predict)
        monkeypatch.setattr(loader, "runtime_module", lambda framework: library)
        return version

    return make


def all_faces(client: APIClient, version: ModelVersion, n_rows: int) -> dict[str, Any]:
    rows = [ROW] * n_rows
    inputs = [{"features": row} for row in rows]
    model = {"model_id": version.pk}
    tensor = {"name": "x", "datatype": "FP64", "shape": [n_rows, 2], "data": ROW * n_rows}
    lines = "".join(json.dumps(line) + "\n" for line in inputs)
    ndjson: Any = client.generic(
        "POST",
        f"/api/v1/predictions/batch/?model_id={version.pk}",
        lines,
        "application/x-ndjson",
    )
    return {
        "single": client.post("/api/v1/predictions/", {**model, "input_data": inputs[0]}),
        "batch": client.post("/api/v1/predictions/batch/", {**model, "inputs": inputs}),
        "ndjson": ndjson,
        "v2": client.post("/v2/models/odd/infer", {"inputs": [tensor]}),
        "v1": client.post("/v1/models/odd:predict", {"instances": rows}),
        "invocations": client.post(
            f"/api/v1/models/{version.pk}/invocations/", {"instances": rows}
        ),
    }


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize(
    ("outputs", "predict"),
    [
        ([VALUE], lambda n: {"value": np.zeros(n + 1)}),
        ([VALUE], lambda n: {"value": np.zeros(n - 1)}),
        ([VALUE], lambda n: {"value": np.zeros(0)}),
        ([VALUE], lambda n: {"value": np.zeros(())}),
        ([VALUE], lambda n: {"value": np.zeros((n, 2))}),
        ([VALUE], lambda n: {"value": np.zeros((n, 0))}),
        ([BOXES], lambda n: {"boxes": np.zeros((n, 4), np.float32)}),
        ([BOXES], lambda n: {"boxes": np.zeros((n, 6, 3), np.float32)}),
        ([BOXES, VALUE], lambda n: {"boxes": np.zeros((n, 1, 4)), "value": np.zeros(n + 2)}),
        ([CHANCES], lambda n: {"chances": np.full((n, 2), "yes", object)}),
        ([LABEL], lambda n: {"label": np.full(n, 2)}),
        ([LABEL], lambda n: {"label": np.full(n, -1)}),
        ([LABEL, CHANCES], lambda n: {"label": np.zeros(n, int), "chances": np.ones((n, 3))}),
        ([LABEL, CHANCES], lambda n: {"label": np.zeros(n, int), "chances": np.ones(n)}),
    ],
)
def test_outputs_of_another_shape_are_failures_on_every_face(
    client: APIClient,
    register: Callable[..., ModelVersion],
    outputs: list[dict[str, object]],
    predict: Predict,
    n_rows: int,
) -> None:
    version = register(outputs, predict)

    responses = all_faces(client, version, n_rows)

    ndjson = responses.pop("ndjson")
    assert ndjson.status_code == 200
    *lines, end = [json.loads(line) for line in b"".join(ndjson.streaming_content).splitlines()]
    assert end["summary"]["failed"] == len(lines) == n_rows
    assert all("The model returned" in json.dumps(line) for line in lines)
    assert {name: r.status_code for name, r in responses.items()} == dict.fromkeys(responses, 422)
    assert all("The model returned" in r.content.decode() for r in responses.values())
    assert not Prediction.objects.exclude(status="failed").exists()
    assert Prediction.objects.count() == 1 + 5 * n_rows


def test_rows_with_outputs_of_several_shapes_are_answered_where_json_holds_them(
    client: APIClient, register: Callable[..., ModelVersion]
) -> None:
    """The boxes of a detector: another number in each row."""
    counts = iter([1, 2] * 6)
    version = register(
        [BOXES], lambda n: {"boxes": np.ones((n, next(counts), 4), np.float32)}, batching="single"
    )
    rows = [ROW, ROW]

    invoked = client.post(f"/api/v1/models/{version.pk}/invocations/", {"instances": rows})
    first = client.post("/v1/models/odd:predict", {"instances": rows})
    n_recorded = Prediction.objects.count()
    tensor = {"name": "x", "datatype": "FP64", "shape": [2, 2], "data": ROW * 2}
    second = client.post("/v2/models/odd/infer", {"inputs": [tensor]})

    for response in (invoked, first):
        assert response.status_code == 200, response.content
        assert [len(boxes) for boxes in response.json()["predictions"]] == [1, 2]
    assert second.status_code == 400
    assert "rows[1]: 'boxes' has the shape [2, 4], but [1, 4]" in second.json()["error"]
    assert Prediction.objects.count() == n_recorded == 4


WIDE = {"name": "value", "datatype": "FP64", "shape": [-1, -1], "kind": "value"}
TEXTS = {"name": "texts", "datatype": "BYTES", "shape": [-1, -1], "kind": "value"}


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize(
    ("outputs", "predict"),
    [
        ([WIDE], lambda n: {"value": np.zeros((n, 0))}),
        ([BOXES], lambda n: {"boxes": np.zeros((n, 0, 4), np.float32)}),
        ([TEXTS], lambda n: {"texts": np.zeros((n, 0), object)}),
        ([WIDE, BOXES], lambda n: {"value": np.zeros((n, 0)), "boxes": np.zeros((n, 0, 4))}),
    ],
)
def test_an_empty_output_of_a_varying_size_is_an_answer_on_every_face(
    client: APIClient,
    register: Callable[..., ModelVersion],
    outputs: list[dict[str, object]],
    predict: Predict,
    n_rows: int,
) -> None:
    """A detector that found nothing."""
    version = register(outputs, predict)

    responses = all_faces(client, version, n_rows)

    ndjson = responses.pop("ndjson")
    *_, end = [json.loads(line) for line in b"".join(ndjson.streaming_content).splitlines()]
    assert end["summary"]["succeeded"] == n_rows
    assert {r.status_code for r in responses.values()} <= {200, 201}
    assert Prediction.objects.filter(status="succeeded").count() == 1 + 5 * n_rows
