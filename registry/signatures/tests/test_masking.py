"""Sensitive inputs: how a signature names them, and how they are masked."""

from typing import Any

import pytest

from registry.signatures.completion import complete
from registry.signatures.masking import HASH_PREFIX, Masks, both, keyed_hash, mask_metadata
from registry.signatures.signature import Signature, SignatureError

KEY = b"a key for tests"
NAMES = ["age", "income"]


def signature(*inputs: Any) -> Signature:
    return Signature.from_json({"inputs": list(inputs)})


def table(**fields: Any) -> Any:
    return {"name": "x", "datatype": "FP64", "shape": [-1, 2], "features": NAMES, **fields}


def masks_of(*inputs: Any) -> Masks:
    masks = Masks.of(signature(*inputs), KEY)
    assert masks is not None
    return masks


def test_nothing_is_masked_unless_the_signature_says_so() -> None:
    assert Masks.of(signature(table()), KEY) is None


@pytest.mark.parametrize("sensitive", ["hash", "omit", {"income": "hash"}])
def test_the_signature_keeps_its_rules(sensitive: Any) -> None:
    document = table(sensitive=sensitive)

    assert signature(document).as_json()["inputs"] == [document]
    assert "sensitive" not in signature(table()).as_json()["inputs"][0]  # type: ignore[index]


@pytest.mark.parametrize("sensitive", ["odd", 1, None, ["hash"], {"age": "odd"}, {"": "hash"}])
def test_another_rule_is_refused(sensitive: Any) -> None:
    with pytest.raises(SignatureError, match=r"inputs\[0\]\.sensitive: "):
        signature(table(sensitive=sensitive))


def test_a_rule_for_an_unknown_feature_is_refused() -> None:
    from_file = signature({"name": "x", "datatype": "FP64", "shape": [-1, 2]})

    with pytest.raises(SignatureError, match="there is no feature 'odd'"):
        complete(from_file, signature(table(sensitive={"odd": "hash"})))


def test_a_declared_rule_is_in_the_completed_signature() -> None:
    from_file = signature({"name": "x", "datatype": "FP64", "shape": [-1, 2]})
    columns = Signature.from_json(
        {"columns": [{"name": "age"}, {"name": "income", "sensitive": "omit"}]}
    )

    for declared in (signature(table(sensitive={"income": "omit"})), columns):
        [tensor] = complete(from_file, declared).inputs
        assert tensor.sensitive == (("income", "omit"),)


def test_features_are_masked_by_name_and_by_position() -> None:
    masks = masks_of(table(sensitive={"income": "hash"}))
    hashed = keyed_hash(900.5, KEY)

    assert masks.apply({"age": 41, "income": 900.5}) == {"age": 41, "income": hashed}
    assert masks.apply({"features": [41, 900.5]}) == {"features": [41, hashed]}


def test_an_omitted_value_is_null_in_its_place() -> None:
    masks = masks_of(
        {"name": "city", "datatype": "BYTES", "shape": [-1], "sensitive": "omit"}, table()
    )

    assert masks.apply({"features": ["Bonn", 41, 9]}) == {"features": [None, 41, 9]}
    assert masks.apply({"city": "Bonn", "age": 1, "income": 2}) == {
        "city": None,
        "age": 1,
        "income": 2,
    }


def test_an_input_without_feature_names_is_masked_as_a_whole() -> None:
    masks = masks_of({"name": "x", "datatype": "FP64", "shape": [-1, 2], "sensitive": "hash"})

    masked: Any = masks.apply({"x": [1.0, 2.0]})
    assert masked == {"x": keyed_hash([1.0, 2.0], KEY)}
    by_position: Any = masks.apply({"features": [1.0, 2.0]})
    assert by_position == {"features": [keyed_hash(1.0, KEY), keyed_hash(2.0, KEY)]}


@pytest.mark.parametrize(
    ("row", "masked"),
    [
        ({"features": [1.5]}, {"features": None}),
        ({"features": "secret"}, {"features": None}),
        (["secret"], None),
        ("secret", None),
    ],
)
def test_nothing_is_left_of_a_row_whose_values_cannot_be_told_apart(row: Any, masked: Any) -> None:
    assert masks_of(table(sensitive={"income": "hash"})).apply(row) == masked


def test_a_hash_needs_the_key_and_is_the_same_for_equal_numbers() -> None:
    assert keyed_hash(3, KEY) == keyed_hash(3.0, KEY) != keyed_hash("3", KEY)
    assert keyed_hash(3, KEY) != keyed_hash(3, b"another")
    assert str(keyed_hash(3, KEY)).startswith(HASH_PREFIX)
    assert keyed_hash(None, KEY) is None


def test_a_shadow_masks_what_either_signature_calls_sensitive() -> None:
    answered = masks_of(table(sensitive={"income": "hash"}))
    other = masks_of(table(sensitive={"age": "omit", "income": "omit"}))
    hashed = keyed_hash(5, KEY)

    for row in ({"age": 1, "income": 5}, {"features": [1, 5]}):
        joined = both(answered, other)
        assert joined is not None
        masked: Any = joined.apply(row)
        assert [*masked.values()] in ([None, hashed], [[None, hashed]])
    assert both(None, other) is other
    assert both(answered, None) is answered


def test_metadata_is_masked_by_key() -> None:
    metadata = {"email": "a@b.c", "phone": "1", "campaign": 7}

    assert mask_metadata(metadata, {"email": "hash", "phone": "omit"}, KEY) == {
        "email": keyed_hash("a@b.c", KEY),
        "campaign": 7,
    }
