"""The rows of a request fit into one tensor per output, or are refused before they are recorded."""

import pytest

from predictions.open_inference.selection import select_outputs
from predictions.open_inference.shapes import require_one_shape
from predictions.serving.answers import Answer
from registry.open_inference.binary import TensorError
from registry.open_inference.messages import RequestedOutput
from registry.signatures.signature import Input, Output, Signature

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
