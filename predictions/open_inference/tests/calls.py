"""Infer calls, as the tests of /v2 send them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework.test import APIClient

INFER = "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
TENSOR: Mapping[str, object] = {
    "name": "features",
    "shape": [1, 4],
    "datatype": "FP64",
    "data": ROW,
}


def infer(
    client: APIClient, *inputs: Mapping[str, object], path: str = INFER, **members: object
) -> Any:
    """Post these inputs, or TENSOR if there are none, with other members of the request."""
    return client.post(path, {"inputs": list(inputs) or [TENSOR], **members})


def tensor(
    name: str, datatype: str, shape: Sequence[int], data: Sequence[object]
) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def prediction_ids(response: Any) -> list[int]:
    ids: list[int] = json.loads(response.json()["parameters"]["prediction_ids"])
    return ids
