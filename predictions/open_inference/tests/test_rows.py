"""Request tensors to rows of `input_data`."""

from dataclasses import replace

import pytest

from predictions.open_inference.rows import rows_from_tensors
from predictions.open_inference.selection import select_outputs
from predictions.open_inference.shapes import require_one_shape
from predictions.serving.answers import Answer
from registry.exact_json.values import JSONObject
from registry.open_inference.binary import TensorError
from registry.open_inference.json_data import Scalar
from registry.open_inference.messages import RequestedOutput
from registry.open_inference.tensors import Tensor
from registry.signatures.signature import Batching, Input, Output, Signature


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


@pytest.mark.parametrize("batching", ["joined", "unbatched"])
def test_a_table_is_no_column_of_a_frame(batching: Batching) -> None:
    signature = replace(IMAGE, batching=batching)

    with pytest.raises(TensorError, match="each input is one column"):
        rows_from_tensors(
            [table("image", (2, 2), [1, 2, 3, 4])], signature, max_rows=10, is_frame=True
        )


# -- rows whose outputs have several shapes


BOXES = Output("boxes", "FP32", (-1, -1, 4))
COUNT = Output("count", "INT64", (-1,))
BOX = [0.0, 0.0, 1.0, 1.0]


def check(rows: list[list[list[float]]], *names: str) -> None:
    signature = Signature((Input("x", "FP32", (-1, 2)),), (BOXES, COUNT))
    answers = [Answer(output={"boxes": row, "count": len(row)}) for row in rows]
    requested = [RequestedOutput(name) for name in names]
    selected = select_outputs(requested, signature, framework="onnx", is_binary=False)
    require_one_shape(answers, signature, selected)


@pytest.mark.parametrize("rows", [[[BOX], [BOX]], [[], []], [[BOX, BOX]], [[]]])
def test_rows_of_one_shape_are_accepted(rows: list[list[list[float]]]) -> None:
    check(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[BOX], [BOX, BOX]], r"rows\[1\]: 'boxes' has the shape \[2, 4\], but \[1, 4\] in rows"),
        ([[BOX], [BOX], []], r"rows\[2\]: 'boxes' has the shape \[0\], but \[1, 4\] in rows\[0\]"),
    ],
)
def test_rows_of_several_shapes_are_refused(rows: list[list[list[float]]], message: str) -> None:
    with pytest.raises(TensorError, match=message):
        check(rows)
    with pytest.raises(TensorError):
        check(rows, "boxes")


def test_an_output_that_is_not_requested_may_differ() -> None:
    check([[BOX], [BOX, BOX]], "count")
