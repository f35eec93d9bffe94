"""Request tensors to rows of `input_data`."""

import pytest

from predictions.open_inference.rows import rows_from_tensors
from registry.exact_json.values import JSONObject
from registry.open_inference.binary import TensorError
from registry.open_inference.json_data import Scalar
from registry.open_inference.tensors import Tensor
from registry.signatures.signature import Input, Signature


def table(name: str, shape: tuple[int, ...], values: list[Scalar]) -> Tensor:
    return Tensor(name, "INT64", shape, values)


IMAGE = Signature((Input("image", "FP32", (-1, 2, 2)),))
SEQUENCE = Signature((Input("tokens", "INT64", (-1, -1)),))
NAMED = Signature((Input("table", "FP64", (-1, 2), ("a", "table")),))
SCALARS = Signature((Input("a", "FP64", (-1,)), Input("b", "FP64", (-1, 1))))
SEVERAL = Signature((Input("a", "FP64", (-1, 2)), Input("b", "INT64", (-1,))))


@pytest.mark.parametrize(
    ("signature", "tensors", "rows"),
    [
        (IMAGE, [table("any", (1, 2, 2), [1, 2, 3, 4])], [{"image": [[1, 2], [3, 4]]}]),
        (SEQUENCE, [table("x", (2, 2), [1, 2, 3, 4])], [{"tokens": [1, 2]}, {"tokens": [3, 4]}]),
        (NAMED, [table("table", (1, 2), [1, 2])], [{"features": [1, 2]}]),
        (
            NAMED,
            [table("a", (2,), [1, 2]), table("table", (2, 1), [3, 4])],
            [{"a": 1, "table": 3}, {"a": 2, "table": 4}],
        ),
        (SCALARS, [table("x", (1, 2), [1, 2])], [{"features": [1, 2]}]),
        (SCALARS, [table("b", (1,), [2]), table("a", (1, 1), [1])], [{"a": 1, "b": 2}]),
        (SEVERAL, [table("a", (1, 2), [1, 2]), table("b", (1,), [3])], [{"a": [1, 2], "b": 3}]),
        (SEVERAL, [table("x", (1, 3), [1, 2, 3])], [{"features": [1, 2, 3]}]),
    ],
)
def test_tensors_become_rows_of_the_signature(
    signature: Signature, tensors: list[Tensor], rows: list[JSONObject]
) -> None:
    assert rows_from_tensors(tensors, signature, max_rows=10) == rows


@pytest.mark.parametrize(
    ("signature", "tensors", "message"),
    [
        (IMAGE, [table("image", (1, 4), [1, 2, 3, 4])], "has the shape [1, 4], not [-1, 2, 2]"),
        (IMAGE, [table("any", (1, 4), [1, 2, 3, 4])], "'any' is not an input of this model"),
        (NAMED, [table("a", (1,), [1])], "'table' is missing"),
        (NAMED, [table("a", (1, 2), [1, 2]), table("b", (1,), [1])], "'a' has the shape [1, 2]"),
        (
            NAMED,
            [table("table", (1, 2), [1, 2]), table("a", (1,), [1])],
            "'a' appears twice",
        ),
        (SCALARS, [table("a", (1,), [1])], "'b' is missing"),
        (
            SCALARS,
            [table("x", (1,), [1])],
            "not an input of this model; the model takes 'a', 'b'",
        ),
        (SEVERAL, [table("a", (1,), [1]), table("b", (1,), [3])], "'a' has the shape [1], not"),
        (SEVERAL, [table("a", (11, 2), [1] * 22)], "has 11 rows; the limit is 10"),
    ],
)
def test_tensors_that_do_not_fit_the_signature_are_refused(
    signature: Signature, tensors: list[Tensor], message: str
) -> None:
    with pytest.raises(TensorError) as raised:
        rows_from_tensors(tensors, signature, max_rows=10)

    assert message in str(raised.value)
