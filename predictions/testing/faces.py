"""Asks every face of the API for the answers to the same rows, to compare them with a library's."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from predictions.serving.answers import Answer, output_values, targets_of
from registry.models import ModelVersion
from registry.signatures.signature import Input, Signature

NDJSON = "application/x-ndjson"
Columns: TypeAlias = dict[str, list[Any]]
"""One value for each row, by output."""


class Refused(Exception):
    """The API refused to register a model, with this message."""


def register(
    admin_api: APIClient, path: Path, *, name: str, framework: str, **fields: object
) -> ModelVersion:
    """Register a file over HTTP; raises Refused, which holds all messages."""
    upload = SimpleUploadedFile(path.name, path.read_bytes())
    encoded = {key: json.dumps(value) for key, value in fields.items()}
    response: Any = admin_api.post(
        "/api/v1/models/",
        {"name": name, "framework": framework, "artifact": upload, **encoded},
        format="multipart",
    )
    if response.status_code == 400:
        raise Refused(json.dumps(response.json()["errors"], ensure_ascii=False))
    assert response.status_code == 201, response.content
    return ModelVersion.objects.get(pk=response.json()["id"])


def answers_of_every_face(
    client: APIClient, version: ModelVersion, rows: Sequence[Sequence[Any]]
) -> dict[str, Columns]:
    """The outputs for rows of values, by face. Invocations have no probabilities."""
    signature = Signature.from_json(version.signature)
    faces: Mapping[str, Callable[..., Columns]] = {
        "single": _single,
        "batch": _batch,
        "ndjson": _ndjson,
        "v2": _open_inference,
        "invocations": _invocations,
    }
    return {name: ask(client, version, signature, rows) for name, ask in faces.items()}


def _post(client: APIClient, url: str, body: object) -> Any:
    response: Any = client.post(url, body)
    assert response.status_code in (200, 201), response.content
    return response.json()


def _single(client: APIClient, version: ModelVersion, signature: Signature, rows: Any) -> Columns:
    body = {"model_id": version.pk}
    return _columns(
        signature,
        [
            _post(client, "/api/v1/predictions/", {**body, "input_data": {"features": row}})
            for row in rows
        ],
    )


def _batch(client: APIClient, version: ModelVersion, signature: Signature, rows: Any) -> Columns:
    body = {"model_id": version.pk, "inputs": [{"features": row} for row in rows]}
    return _columns(signature, _post(client, "/api/v1/predictions/batch/", body))


def _ndjson(client: APIClient, version: ModelVersion, signature: Signature, rows: Any) -> Columns:
    lines = "\n".join(json.dumps({"features": row}) for row in rows)
    url = f"/api/v1/predictions/batch/?model_id={version.pk}"
    response: Any = client.generic("POST", url, lines, content_type=NDJSON)
    assert response.status_code == 200, response.content
    results = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    assert results.pop()["summary"]["succeeded"] == len(rows), results
    return _columns(signature, results)


def _columns(signature: Signature, recorded: Sequence[Mapping[str, Any]]) -> Columns:
    targets = targets_of(signature.outputs)
    columns: Columns = {output.name: [] for output in signature.outputs}
    for row in recorded:
        assert row.get("status", "succeeded") == "succeeded", row
        answer = Answer(row["prediction"], row["confidence"], row["output"])
        for target in targets:
            values = output_values(answer, target, len(targets))
            for output, value in zip(target, values, strict=True):
                columns[output.name].append(value)
    return columns


def _open_inference(
    client: APIClient, version: ModelVersion, signature: Signature, rows: Any
) -> Columns:
    inputs, start = [], 0
    for tensor in signature.inputs:
        width = int(np.prod(tensor.row_shape, dtype=int))
        cells = [row[start : start + width] for row in rows]
        inputs.append(_tensor(tensor, [value for row in cells for value in row], len(rows)))
        start += width
    url = f"/v2/models/{version.name}/versions/{version.version}/infer"
    outputs = _post(client, url, {"inputs": inputs})["outputs"]
    return {
        output["name"]: np.reshape(np.array(output["data"], object), output["shape"]).tolist()
        for output in outputs
    }


def _tensor(tensor: Input, values: list[Any], n_rows: int) -> Mapping[str, object]:
    datatype = tensor.datatype
    if datatype != "BYTES" and None in values:
        # The protocol has a missing value for floats and texts only.
        datatype, values = "FP64", [None if v is None else float(v) for v in values]
    shape = [n_rows, *tensor.row_shape]
    return {"name": tensor.name, "datatype": datatype, "shape": shape, "data": values}


def _invocations(
    client: APIClient, version: ModelVersion, signature: Signature, rows: Any
) -> Columns:
    body = {"instances": list(rows)}
    predictions = _post(client, f"/api/v1/models/{version.pk}/invocations", body)["predictions"]
    names = [target[0].name for target in targets_of(signature.outputs)]
    if len(names) == 1:
        predictions = [[prediction] for prediction in predictions]
    return {name: [row[i] for row in predictions] for i, name in enumerate(names)}


def assert_equal_answers(
    faces: Mapping[str, Columns], expected: Mapping[str, Any], tolerance: float = 1e-6
) -> None:
    """Each face answers every output as the library does: the same labels, and numbers within
    `tolerance`, relative for numbers above 1. Invocations have one column for each target.
    """
    for face, columns in faces.items():
        answered = {name for name in expected if not name.endswith("probabilities")}
        assert columns.keys() == (answered if face == "invocations" else expected.keys()), face
        for name, values in columns.items():
            wanted = np.asarray(expected[name])
            if wanted.dtype.kind in "OUSb":
                assert list(values) == wanted.tolist(), (face, name)
            else:
                np.testing.assert_allclose(
                    np.asarray(values, dtype=float),
                    wanted,
                    rtol=tolerance,
                    atol=tolerance,
                    err_msg=f"{face}: {name}",
                )
