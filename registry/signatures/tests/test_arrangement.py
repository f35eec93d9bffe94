import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.signatures.arrangement import arrange
from registry.signatures.signature import DTYPES, Input, Signature
from registry.signatures.validation import InvalidInput, join_messages

# A slow machine must not fail the tests.
no_deadline = settings(deadline=None)
INTEGERS = [name for name in DTYPES if "INT" in name]
FLOATS = ["FP16", "FP32", "FP64"]


def signature(*inputs: Input) -> Signature:
    return Signature(inputs)


IRIS = signature(Input("features", "FP64", (-1, 3), ("a", "b", "c")))
MIXED = signature(
    Input("age", "FP64", (-1,), nullable=True),
    Input("city", "BYTES", (-1,)),
    Input("visits", "INT64", (-1,)),
    Input("member", "BOOL", (-1,)),
)


def errors_of(model_signature: Signature, row: object) -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as caught:
        arrange(model_signature, [row])
    return caught.value.errors


def test_rows_by_position_and_by_name_are_the_same() -> None:
    by_position = arrange(IRIS, [{"features": [1, 2.5, 3]}])
    by_name = arrange(IRIS, [{"c": 3, "a": 1, "b": 2.5}])

    np.testing.assert_array_equal(by_position["features"], [[1, 2.5, 3]])
    np.testing.assert_array_equal(by_position["features"], by_name["features"])


def test_each_input_has_its_own_dtype() -> None:
    arrays = arrange(MIXED, [{"features": [1, "Bern", 2**62 + 1, True]}])

    assert {name: array.dtype.kind for name, array in arrays.items()} == {
        "age": "f",
        "city": "O",
        "visits": "i",
        "member": "b",
    }
    assert arrays["visits"][0] == 2**62 + 1


def test_null_is_a_missing_value_if_nullable() -> None:
    arrays = arrange(MIXED, [{"features": [None, "Bern", 1, True]}])

    assert math.isnan(arrays["age"][0])


@pytest.mark.parametrize("datatype", ["BOOL", "INT64"])
def test_a_missing_integer_or_boolean_is_none_in_an_array_of_objects(datatype: str) -> None:
    nullable = signature(Input("visits", datatype, (-1,), nullable=True))

    array = arrange(nullable, [{"visits": 1}, {"visits": None}])["visits"]

    assert (array.dtype.kind, array.tolist()) == ("O", [1, None])


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (1.0, True)])
def test_a_boolean_may_be_sent_as_0_or_1(value: float, expected: bool) -> None:
    [member] = arrange(signature(Input("member", "BOOL", (-1,))), [{"member": value}])["member"]

    assert member is np.bool_(expected)


@pytest.mark.parametrize("value", [2, -1, 0.5, "true", "1", None])
def test_nothing_else_is_a_boolean(value: object) -> None:
    assert list(errors_of(signature(Input("member", "BOOL", (-1,))), {"member": value}))


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"features": [1, 2]}, "features"),
        ({"features": [1, 2, "x"]}, "features[2]"),
        ({"features": [1, True, 3]}, "features[1]"),
        ({"features": [1, None, 3]}, "features[1]"),
        ({"features": [1, [2], 3]}, "features[1]"),
        ({"features": "abc"}, "features"),
        ({"a": 1, "b": 2}, "c"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, "d"),
        ({"a": 1, "b": "x", "c": 3}, "b"),
        ([1, 2, 3], ""),
        (None, ""),
    ],
)
def test_an_invalid_value_is_named(row: object, path: str) -> None:
    assert list(errors_of(IRIS, row)) == [path]


def test_every_invalid_value_of_a_row_is_named() -> None:
    row = {"age": "old", "city": 3, "visits": 1.5, "member": 2}

    assert set(errors_of(MIXED, row)) == set(row)


def test_the_first_invalid_row_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        arrange(IRIS, [{"features": [1, 2, 3]}, {"features": [1, 2]}, {"features": []}])

    assert caught.value.row == 1


def test_a_tensor_of_variable_length_takes_rows_of_the_same_shape() -> None:
    model_signature = signature(Input("series", "FP32", (-1, -1, 2)))

    arrays = arrange(model_signature, [{"series": [[1, 2], [3, 4]]}, {"series": [[5, 6], [7, 8]]}])

    assert arrays["series"].shape == (2, 2, 2)
    with pytest.raises(InvalidInput, match="rectangular"):
        arrange(model_signature, [{"series": [[1, 2]]}, {"series": [[5, 6], [7, 8]]}])


@no_deadline
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(),
            st.integers(-(2**63), 2**63 - 1),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_accepted_values_are_exact(rows: list[tuple[float, str, int, bool]]) -> None:
    arrays = arrange(MIXED, [{"features": json.loads(json.dumps(row))} for row in rows])

    for position, name in enumerate(("age", "city", "visits", "member")):
        assert arrays[name].tolist() == [row[position] for row in rows]


@no_deadline
@given(st.sampled_from(INTEGERS), st.integers(-(2**70), 2**70))
def test_an_integer_is_exact_or_refused(datatype: str, value: int) -> None:
    model_signature = signature(Input("x", datatype, (-1,)))
    limits = np.iinfo(DTYPES[datatype])

    if limits.min <= value <= limits.max:
        assert int(arrange(model_signature, [{"x": value}])["x"][0]) == value
    else:
        assert list(errors_of(model_signature, {"x": value})) == ["x"]


@no_deadline
@given(st.sampled_from(INTEGERS), st.floats(allow_nan=True, allow_infinity=True))
def test_a_float_for_an_integer_is_whole_or_refused(datatype: str, value: float) -> None:
    model_signature = signature(Input("x", datatype, (-1,)))

    try:
        array = arrange(model_signature, [{"x": value}])["x"]
    except InvalidInput:
        return
    assert int(array[0]) == value


@no_deadline
@given(st.sampled_from(FLOATS), st.integers() | st.floats(allow_nan=True, allow_infinity=True))
def test_a_float_tensor_is_always_finite(datatype: str, value: float) -> None:
    model_signature = signature(Input("x", datatype, (-1,)))

    try:
        array = arrange(model_signature, [{"x": value}])["x"]
    except InvalidInput:
        return
    assert array.dtype == DTYPES[datatype]
    assert np.isfinite(array).all()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["features", "a", "b", "c", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@no_deadline
@given(st.sampled_from([IRIS, MIXED, signature(Input("x", "FP32", (-1, -1)))]), JSON)
def test_any_json_is_either_accepted_or_refused(model_signature: Signature, row: object) -> None:
    try:
        arrays = arrange(model_signature, [row])
    except InvalidInput:
        return
    assert [len(array) for array in arrays.values()] == [1] * len(model_signature.inputs)


def test_only_the_last_of_joined_messages_keeps_its_full_stop() -> None:
    assert join_messages(["a: Missing.", "b: Must be text."]) == "a: Missing; b: Must be text."
    assert join_messages(["a: Missing."]) == "a: Missing."
    assert join_messages([]) == ""
