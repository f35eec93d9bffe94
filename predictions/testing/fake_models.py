"""A version whose model is a function, and every way to ask for its predictions."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pytest
from rest_framework.test import APIClient

from registry.loading import loader
from registry.models import Alias, ModelVersion
from registry.runtimes.base import Outputs
from registry.signatures.signature import Signature
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

ROW = [1.0, 2.0]
INPUTS = [{"name": "features", "datatype": "FP64", "shape": [-1, 2]}]
VALUE: dict[str, object] = {"name": "value", "datatype": "FP64", "shape": [-1], "kind": "value"}
BOXES: dict[str, object] = {
    "name": "boxes",
    "datatype": "FP32",
    "shape": [-1, -1, 4],
    "kind": "value",
}
LABEL: dict[str, object] = {
    "name": "label",
    "datatype": "INT64",
    "shape": [-1],
    "kind": "label",
    "classes": [0, 1],
}
CHANCES: dict[str, object] = {
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


class MakeFake(Protocol):
    def __call__(
        self,
        outputs: list[dict[str, object]],
        predict: Predict,
        *,
        runtime: "Callable[[Signature, Predict], FakeRuntime]" = ...,
        **fields: str,
    ) -> ModelVersion: ...


@pytest.fixture
def fake_version(
    make_version: MakeVersion, iris_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> MakeFake:
    """A version `odd:1` with these outputs, whose runtime answers as `predict` does."""

    def make(
        outputs: list[dict[str, object]],
        predict: Predict,
        *,
        runtime: Callable[[Signature, Predict], FakeRuntime] = FakeRuntime,
        **fields: str,
    ) -> ModelVersion:
        document = {"inputs": INPUTS, "outputs": outputs, **fields}
        version = make_version("odd", iris_artifact)
        ModelVersion.objects.filter(pk=version.pk).update(signature=document)
        Alias.objects.create(name="odd", alias="champion", version=version)
        fake = runtime(Signature.from_json(document), predict)
        monkeypatch.setattr(loader, "_load_runtime", lambda *_: fake)
        return version

    return make


def all_faces(client: APIClient, version: ModelVersion, n_rows: int) -> dict[str, Any]:
    """The responses to the same rows on every way that scores them, by its name."""
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
