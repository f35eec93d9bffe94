"""Whether the callers of one signature can be answered by another."""

from typing import Any

import pytest

from registry.signatures.compatibility import refusals
from registry.signatures.signature import Input, Signature

VECTOR = Input("features", "FP64", (-1, 4))
COLUMNS = tuple(Input(name, "FP64", (-1,)) for name in "abcd")
NAMED = Input("features", "FP64", (-1, 4), tuple("abcd"))
IMAGE = Input("image", "FP32", (-1, 3, 8, 8))


def between(old: Any, new: Any) -> list[str]:
    tuples = [given if isinstance(given, tuple) else (given,) for given in (old, new)]
    return refusals(Signature(tuples[1]), Signature(tuples[0]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (VECTOR, VECTOR),
        (COLUMNS, COLUMNS),
        # What is sent for a column is the same, whatever tensor it is put into.
        (COLUMNS, NAMED),
        (NAMED, COLUMNS),
        # A list of values does not say how the tensor is called.
        (VECTOR, Input("X", "FP32", (-1, 4))),
        (VECTOR, COLUMNS),
        (VECTOR, NAMED),
        (Input("age", "INT64", (-1,)), Input("age", "FP32", (-1, 1))),
        (Input("age", "INT32", (-1,)), Input("age", "INT64", (-1,))),
        (Input("age", "UINT8", (-1,)), Input("age", "INT16", (-1,))),
        (Input("age", "FP64", (-1,)), Input("age", "FP32", (-1,))),
        (Input("age", "FP64", (-1,)), Input("age", "FP64", (-1,), nullable=True)),
        (Input("city", "BYTES", (-1,)), Input("city", "BYTES", (-1,))),
        (IMAGE, IMAGE),
        (IMAGE, Input("image", "FP32", (-1, 3, -1, -1))),
        (Input("tokens", "INT64", (-1, -1)), Input("tokens", "INT64", (-1, -1))),
    ],
)
def test_what_takes_the_same_takes_over(old: Any, new: Any) -> None:
    assert between(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (COLUMNS, COLUMNS[:3], ["it does not take 'd'"]),
        (COLUMNS[:3], COLUMNS, ["it also needs 'd'"]),
        (
            COLUMNS[0],
            Input("x", "FP64", (-1,)),
            ["it does not take 'a' and it also needs 'x'"],
        ),
        (
            COLUMNS,
            COLUMNS[::-1],
            ["it takes the same inputs in another order: 'd', 'c', 'b', 'a'"],
        ),
        (
            VECTOR,
            Input("features", "FP64", (-1, 5)),
            ["input 'features' has the shape [5], not [4]"],
        ),
        (VECTOR, Input("X", "FP64", (-1, 5)), ["it takes 5 values, not 4"]),
        (VECTOR, (*COLUMNS, Input("e", "FP64", (-1,))), ["it takes 5 values, not 4"]),
        (
            VECTOR,
            (*COLUMNS[:3], Input("d", "BYTES", (-1,))),
            ["input 'features[3]' is BYTES, not FP64"],
        ),
        (VECTOR, IMAGE, ["it does not take 'features' and it also needs 'image'"]),
        (
            Input("X", "FP64", (-1, 4)),
            VECTOR,
            ["it does not take 'X' and it also needs 'features'"],
        ),
        (
            Input("age", "FP64", (-1,), nullable=True),
            Input("age", "FP64", (-1,)),
            ["input 'age' must not be null, which it may be now"],
        ),
        (Input("a", "INT64", (-1,)), Input("a", "INT32", (-1,)), ["input 'a' is INT32, not INT64"]),
        (Input("a", "INT8", (-1,)), Input("a", "UINT8", (-1,)), ["input 'a' is UINT8, not INT8"]),
        (Input("a", "FP64", (-1,)), Input("a", "INT64", (-1,)), ["input 'a' is INT64, not FP64"]),
        (Input("a", "BOOL", (-1,)), Input("a", "INT64", (-1,)), ["input 'a' is INT64, not BOOL"]),
        (Input("a", "INT64", (-1,)), Input("a", "BOOL", (-1,)), ["input 'a' is BOOL, not INT64"]),
        (
            Input("image", "FP32", (-1, 3, -1, -1)),
            IMAGE,
            ["input 'image' has the shape [3, 8, 8], not [3, -1, -1]"],
        ),
        (
            Input("a", "FP64", (-1, 2)),
            Input("a", "FP64", (-1,)),
            ["input 'a' has the shape of one value, not [2]"],
        ),
    ],
)
def test_what_takes_something_else_says_what(old: Any, new: Any, said: list[str]) -> None:
    assert between(old, new) == said


def test_a_long_list_of_reasons_is_cut() -> None:
    floats = tuple(Input(f"x{i}", "FP64", (-1,)) for i in range(50))
    texts = tuple(Input(f"x{i}", "BYTES", (-1,)) for i in range(50))

    reasons = between(floats, texts)

    assert len(reasons) == 21
    assert reasons[-1] == "and 30 more"
