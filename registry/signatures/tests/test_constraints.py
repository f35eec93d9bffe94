"""Constraints on inputs: how a signature declares them, and which rows violate them."""

from typing import Any

import numpy as np
import pytest

from registry.signatures.arrangement import arrange
from registry.signatures.checking import Checks, Violations
from registry.signatures.compatibility import incompatibilities
from registry.signatures.completion import complete
from registry.signatures.signature import Signature, SignatureError


def signature(*inputs: Any) -> Signature:
    return Signature.from_json({"inputs": list(inputs)})


def number(name: str = "age", *constraints: Any, **fields: Any) -> Any:
    document = {"name": name, "datatype": "FP64", "shape": [-1], **fields}
    return {**document, "constraints": list(constraints)} if constraints else document


def table(*constraints: Any, **fields: Any) -> Any:
    document = {"name": "x", "datatype": "FP64", "shape": [-1, 2], **fields}
    return {**document, "constraints": list(constraints)}


def find(model: Signature, *rows: Any) -> Violations:
    checks = Checks.of(model)
    assert checks is not None
    return checks.find(arrange(model, rows))


def declare(*constraints: Any, **fields: Any) -> Signature:
    """What registration makes of constraints on a file's input `age`."""
    file = signature(number(**fields))
    return complete(file, signature({"name": "age", "constraints": list(constraints)}))


def test_a_signature_without_constraints_has_no_checks() -> None:
    assert Checks.of(signature(number())) is None
    assert "constraints" not in signature(number()).as_json()["inputs"][0]  # type: ignore[index]


def test_registration_keeps_constraints_one_object_each() -> None:
    model = declare({"min": 0, "max": 120}, {"required": True, "on_violation": "flag"})

    document = model.as_json()
    assert document["inputs"][0]["constraints"] == [  # type: ignore[index]
        {"min": 0, "on_violation": "reject"},
        {"max": 120, "on_violation": "reject"},
        {"required": True, "on_violation": "flag"},
    ]
    assert Signature.from_json(document) == model


def test_the_columns_of_a_table_have_constraints_of_their_own() -> None:
    columns: Any = [{"name": "age", "constraints": [{"min": 0}]}, {"name": "income"}]
    declared = Signature.from_json({"columns": columns})

    [tensor] = complete(signature(table()), declared).inputs

    assert [(item.feature, item.kind) for item in tensor.constraints] == [("age", "min")]


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("no list", "inputs[0].constraints: must be a list of objects"),
        ([1], "inputs[0].constraints[0]: must be an object"),
        ([{"minimum": 1}], "inputs[0].constraints[0]: unknown 'minimum'"),
        ([{"on_violation": "flag"}], "must have one of min, max, values, required"),
        ([{"min": "1"}], "min must be a number"),
        ([{"min": True}], "min must be a number"),
        ([{"max": float("inf")}], "max must be a number"),
        ([{"values": []}], "values must be a list of 1 to 1000 values"),
        ([{"values": [None]}], "values must be texts, numbers or booleans"),
        ([{"required": False}], "required must be true"),
        ([{"min": 1, "on_violation": "warn"}], "on_violation must be reject or flag"),
        ([{"min": 1, "feature": 3}], "feature must be the name of a feature"),
        ([{"min": 1, "feature": f"f{i}"} for i in range(1001)], "at most 1000 are allowed"),
    ],
)
def test_a_malformed_constraint_is_refused(constraint: Any, message: str) -> None:
    with pytest.raises(SignatureError) as error:
        signature({"name": "age", "constraints": constraint})

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("constraints", "fields", "message"),
    [
        ([{"feature": "income", "min": 0}], {}, "there is no feature 'income'"),
        ([{"min": 2}, {"min": 1}], {}, "min is declared twice"),
        ([{"min": 2, "max": 1}], {}, "min is greater than max"),
        ([{"min": 0}], {"datatype": "BYTES"}, "only numbers can have one"),
        ([{"min": 0}], {"datatype": "BOOL"}, "only numbers can have one"),
        ([{"min": 0.5}], {"datatype": "INT64"}, "must be whole numbers, not 0.5"),
        ([{"values": ["a"]}], {}, "must be numbers, not 'a'"),
        ([{"values": [1]}], {"datatype": "BYTES"}, "must be texts, not 1"),
        ([{"values": [1]}], {"datatype": "BOOL"}, "must be true or false, not 1"),
        ([{"values": [True]}], {"datatype": "INT64"}, "must be whole numbers, not True"),
    ],
)
def test_a_constraint_that_cannot_apply_is_refused(
    constraints: Any, fields: Any, message: str
) -> None:
    with pytest.raises(SignatureError, match=r"input age: constraints: ") as error:
        declare(*constraints, **fields)

    assert message in str(error.value)


def test_limits_are_inclusive_and_a_message_names_value_and_limit() -> None:
    model = declare({"min": 0, "max": 120})

    found = find(model, *({"age": age} for age in (0, 120, -1, 120.5)))

    assert found.flags == {}
    assert found.errors == {
        2: {"age": ["Must be at least 0, not -1.0."]},
        3: {"age": ["Must be at most 120, not 120.5."]},
    }


def test_each_constraint_rejects_or_flags() -> None:
    model = declare(
        {"min": 0, "on_violation": "flag"}, {"min": -10, "feature": "age"}, nullable=True
    )

    found = find(model, {"age": -1}, {"age": -11}, {"age": None}, {"age": 5})

    assert found.flags == {0: ["age:min"], 1: ["age:min"]}
    assert found.errors == {1: {"age": ["Must be at least -10, not -11.0."]}}


@pytest.mark.parametrize(
    ("datatype", "values", "good", "bad"),
    [
        ("BYTES", ["gold", "basic"], "gold", "silver"),
        ("INT64", [1, 2.0], 2, 3),
        ("FP32", [0.1, 2], 0.1, 0.2),
        ("BOOL", [True], True, False),
    ],
)
@pytest.mark.parametrize("nullable", [False, True])
def test_only_the_listed_values_are_allowed(
    datatype: str, values: Any, good: Any, bad: Any, nullable: bool
) -> None:
    # Not by `declare`: runtimes have nullable integers and booleans, declarations do not.
    fields = {"datatype": datatype, "nullable": nullable}
    model = complete(signature(number("age", {"values": values}, **fields)), None)

    rows = [{"age": good}, {"age": bad}, *([{"age": None}] if nullable else [])]
    found = find(model, *rows)

    assert list(found.errors) == [1]
    [[message]] = found.errors[1].values()
    assert message.startswith("Must be one of ")
    assert "not " in message


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BYTES"])
def test_a_required_value_may_not_be_null_though_the_model_takes_it(datatype: str) -> None:
    fields = {"datatype": datatype, "nullable": True}
    model = complete(signature(number("age", {"required": True}, **fields)), None)

    found = find(model, {"age": "a" if datatype == "BYTES" else 1}, {"age": None})

    assert found.errors == {1: {"age": ["Must not be null: a value is required here."]}}


def test_numbers_are_compared_as_the_model_gets_them() -> None:
    # 0.1 in single precision is greater than the double 0.1.
    model = declare({"min": 0.1, "max": 0.1}, datatype="FP32")

    assert find(model, {"age": 0.1}).errors == {}


@pytest.mark.parametrize("nullable", [False, True])
def test_integers_are_compared_exactly(nullable: bool) -> None:
    document = number("age", {"max": 2**53}, datatype="INT64", nullable=nullable)
    model = complete(signature(document), None)

    assert list(find(model, {"age": 2**53}, {"age": 2**53 + 1}).errors) == [1]


def test_a_limit_beyond_the_range_of_the_datatype_is_never_violated() -> None:
    model = declare({"max": 10**6}, datatype="FP16")

    assert find(model, {"age": 60000}).errors == {}


def test_features_of_a_table_are_checked_by_name_and_position() -> None:
    named = complete(
        signature(table({"feature": "b", "max": 1}, {"min": 0}, features=["a", "b"])), None
    )
    unnamed = complete(signature(table({"feature": "x[1]", "max": 1}, {"min": 0})), None)

    rows = [{"features": [0, 2]}, {"features": [-1, -2]}]
    assert find(named, *rows).errors == {
        0: {"b": ["Must be at most 1, not 2.0."]},
        1: {"a": ["Must be at least 0, not -1.0."], "b": ["Must be at least 0, not -2.0."]},
    }
    # All values of a tensor without names share one message: there may be a million.
    assert find(unnamed, *rows).errors == {
        0: {"x[1]": ["Must be at most 1, not 2.0."]},
        1: {"x": ["Must be at least 0, not -1.0."]},
    }


def test_the_limits_of_a_tensor_of_any_shape_apply_to_each_of_its_values() -> None:
    document = {"name": "image", "datatype": "FP32", "shape": [-1, 2, 2]}
    model = complete(signature({**document, "constraints": [{"max": 1}]}), None)

    found = find(model, {"image": [[0, 1], [0, 0]]}, {"image": [[0, 0], [7, 0]]})

    assert found.errors == {1: {"image": ["Must be at most 1, not 7.0."]}}


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        ([{"min": 1}], [], "must be at least 1, and callers may send less now"),
        ([{"max": 9}], [{"max": 10}], "must be at most 9, and callers may send more now"),
        ([{"values": [1]}], [{"values": [1, 2]}], "must be one of a list of values"),
        ([{"required": True}], [], "must not be null, which callers may send now"),
        ([{"min": 1}], [{"min": 1, "on_violation": "flag"}], "must be at least 1"),
    ],
)
def test_narrower_constraints_are_incompatible(new: Any, old: Any, reason: str) -> None:
    found = incompatibilities(
        signature(number("age", *new, nullable=True)), signature(number("age", *old, nullable=True))
    )

    assert len(found) == 1
    assert found[0].startswith(f"input 'age' {reason}")


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ([], [{"min": 1}]),
        ([{"min": 1, "on_violation": "flag"}], []),
        ([{"min": 0, "max": 9}], [{"min": 1, "max": 9}]),
        ([{"min": 1, "max": 2}], [{"values": [1, 2]}]),
        ([{"values": [1, 2, 3]}], [{"values": [1, 2]}]),
    ],
)
def test_wider_constraints_are_compatible(new: Any, old: Any) -> None:
    assert not incompatibilities(signature(number("age", *new)), signature(number("age", *old)))


def test_a_table_may_be_divided_into_inputs() -> None:
    matrix = signature(table({"feature": "a", "min": 0}, features=["a", "b"]))
    columns = signature(number("a", {"min": 0}), number("b"))

    assert not incompatibilities(columns, matrix)
    assert not incompatibilities(matrix, columns)
    assert incompatibilities(matrix, signature(number("a"), number("b"))) == [
        "input 'a' must be at least 0, and callers may send less now"
    ]


def test_the_range_of_a_datatype_counts_as_a_limit() -> None:
    limited = signature(number("age", {"min": 0}, datatype="INT64"))

    assert not incompatibilities(limited, signature(number("age", datatype="UINT8")))


@pytest.mark.parametrize("n_rows", [1, 7, 100])
@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT8", "UINT8", "INT64"])
def test_bounds_of_many_rows_are_those_of_each(datatype: str, n_rows: int) -> None:
    limits = [
        {"feature": "a", "min": -3, "max": 5, "on_violation": "flag"},
        {"min": 1},
        {"feature": "b", "max": 300},
    ]
    model = complete(signature(table(*limits, datatype=datatype, features=["a", "b"])), None)
    random = np.random.default_rng(0)
    low = 0 if datatype == "UINT8" else -9
    rows = random.integers(low, 9, (n_rows, 2)).tolist()

    found = find(model, *({"features": row} for row in rows))

    outside = {
        i: ["a:min" if a < -3 else "a:max"] for i, (a, _) in enumerate(rows) if not -3 <= a <= 5
    }
    assert found.flags == outside
    assert set(found.errors) == {i for i, row in enumerate(rows) if min(row) < 1}
