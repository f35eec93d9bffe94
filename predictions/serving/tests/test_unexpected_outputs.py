"""A model whose outputs are not of the shape that was proved: a failure that every face records and
reports, never a 500, an empty body or a cut answer.
"""

import json

import numpy as np
import pytest
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.testing.fake_models import (
    BOXES,
    CHANCES,
    LABEL,
    ROW,
    VALUE,
    MakeFake,
    Predict,
    all_faces,
)
from predictions.testing.fake_models import fake_version as fake_version


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
    fake_version: MakeFake,
    outputs: list[dict[str, object]],
    predict: Predict,
    n_rows: int,
) -> None:
    version = fake_version(outputs, predict)

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
    client: APIClient, fake_version: MakeFake
) -> None:
    """The boxes of a detector: another number in each row."""
    counts = iter([1, 2] * 6)
    version = fake_version(
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
    fake_version: MakeFake,
    outputs: list[dict[str, object]],
    predict: Predict,
    n_rows: int,
) -> None:
    """A detector that found nothing."""
    version = fake_version(outputs, predict)

    responses = all_faces(client, version, n_rows)

    ndjson = responses.pop("ndjson")
    *_, end = [json.loads(line) for line in b"".join(ndjson.streaming_content).splitlines()]
    assert end["summary"]["succeeded"] == n_rows
    assert {r.status_code for r in responses.values()} <= {200, 201}
    assert Prediction.objects.filter(status="succeeded").count() == 1 + 5 * n_rows
