"""Whether a new signature accepts what the callers of an old one send."""

import pytest

from registry.signatures.compatibility import incompatibilities
from registry.signatures.signature import Input, Signature

VECTOR = Input("features", "FP64", (-1, 4))
COLUMNS = tuple(Input(name, "FP64", (-1,)) for name in "abcd")
NAMED = Input("features", "FP64", (-1, 4), tuple("abcd"))
IMAGE = Input("image", "FP32", (-1, 3, 8, 8))


Inputs = Input | tuple[Input, ...]


def between(old: Inputs, new: Inputs) -> list[str]:
    return incompatibilities(signature(new), signature(old))


def signature(inputs: Inputs) -> Signature:
    return Signature(inputs if isinstance(inputs, tuple) else (inputs,))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (VECTOR, VECTOR),
        (COLUMNS, COLUMNS),
        # A caller sends the same for a column, whichever tensor it goes into.
        (COLUMNS, NAMED),
        (NAMED, COLUMNS),
        # A list of values does not contain the name of the tensor.
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
def test_a_signature_that_accepts_the_same_inputs_is_compatible(old: Inputs, new: Inputs) -> None:
    assert between(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
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
            ["it takes the same inputs in a different order: 'd', 'c', 'b', 'a'"],
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
            ["input 'age' does not allow null, which callers may send now"],
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
            ["input 'a' has the shape of a single value, not [2]"],
        ),
    ],
)
def test_each_incompatibility_is_named(old: Inputs, new: Inputs, reasons: list[str]) -> None:
    assert between(old, new) == reasons


def test_a_long_list_of_reasons_is_shortened() -> None:
    floats = tuple(Input(f"x{i}", "FP64", (-1,)) for i in range(50))
    texts = tuple(Input(f"x{i}", "BYTES", (-1,)) for i in range(50))

    reasons = between(floats, texts)

    assert len(reasons) == 21
    assert reasons[-1] == "and 30 more"
