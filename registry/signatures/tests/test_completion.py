from dataclasses import replace
from typing import Any

import pytest

from registry.signatures.completion import complete
from registry.signatures.signature import Input, Output, Signature, SignatureError

COLUMNS = Signature(
    (Input("age", "FP64", (-1,)), Input("city", None, (-1,)), Input("seats", None, (-1,))),
    (
        Output("label", "INT64", (-1,), "label", (0, 1)),
        Output("probabilities", "FP64", (-1, 2), "probabilities", (0, 1)),
    ),
)
TENSOR = Signature((Input("features", "FP32", (-1, 2)),), COLUMNS.outputs)


def declared(*inputs: dict[str, Any], **more: Any) -> Signature:
    return Signature.from_json({"inputs": list(inputs), **more})


def datatypes(signature: Signature) -> list[str | None]:
    return [tensor.datatype for tensor in signature.inputs]


def test_a_declared_type_is_filled_in() -> None:
    declaration = declared(
        {"name": "city", "datatype": "BYTES"}, {"name": "seats", "datatype": "INT64"}
    )

    assert datatypes(complete(COLUMNS, declaration)) == ["FP64", "BYTES", "INT64"]


@pytest.mark.parametrize(
    ("values", "datatype", "nullable"),
    [
        ([1, 2], "INT64", False),
        ([1, 2.5], "FP64", False),
        ([1, None], "FP64", True),
        (["a", None], "BYTES", True),
        ([True, False], "BOOL", False),
    ],
)
def test_a_type_is_inferred_from_example_rows(
    values: list[object], datatype: str, nullable: bool
) -> None:
    rows = [{"age": 1.5, "city": "Bern", "seats": value} for value in values]

    seats = complete(COLUMNS, None, rows).inputs[2]

    assert (seats.datatype, seats.nullable) == (datatype, nullable)


@pytest.mark.parametrize("values", [[1, "a"], [True, 1], [True, None], [{}]])
def test_example_rows_that_disagree_are_refused(values: list[object]) -> None:
    rows = [{"age": 1.5, "city": "Bern", "seats": value} for value in values]

    with pytest.raises(SignatureError, match="seats"):
        complete(COLUMNS, None, rows)


def test_a_type_that_remains_unknown_is_named() -> None:
    with pytest.raises(SignatureError, match="'city', 'seats'"):
        complete(COLUMNS, None)


def test_the_type_of_a_column_of_nulls_remains_unknown() -> None:
    with pytest.raises(SignatureError, match="'seats'"):
        complete(COLUMNS, None, [{"age": 1.5, "city": "Bern", "seats": None}])


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"name": "features", "datatype": "FP64"}, "FP32 in the file, not FP64"),
        ({"name": "features", "datatype": "BYTES"}, "FP32 in the file, not BYTES"),
        ({"name": "features", "shape": [-1, 3]}, "shape"),
        ({"name": "features", "features": ["a"]}, "2 columns in the file, not 1"),
        ({"name": "other"}, "no input 'other'"),
    ],
)
def test_a_declaration_that_contradicts_the_file_is_refused(
    declaration: dict[str, Any], message: str
) -> None:
    with pytest.raises(SignatureError, match=message):
        complete(TENSOR, declared(declaration))


def test_an_integer_may_be_declared_where_the_file_has_a_float() -> None:
    assert datatypes(complete(TENSOR, declared({"name": "features", "datatype": "INT16"}))) == [
        "FP32"
    ]


def test_columns_of_a_tensor_can_be_named() -> None:
    named = complete(TENSOR, declared({"name": "features", "features": ["a", "b"]}))

    assert named.feature_names == ("a", "b")


def test_an_integer_column_cannot_be_nullable() -> None:
    declaration = declared(
        {"name": "city", "datatype": "BYTES"},
        {"name": "seats", "datatype": "INT64", "nullable": True},
    )

    with pytest.raises(SignatureError, match="cannot hold missing values"):
        complete(COLUMNS, declaration)


def test_numbered_classes_can_be_named() -> None:
    named = complete(TENSOR, declared(classes=["no", "yes"]))

    assert named.outputs[0].datatype == "BYTES"
    assert [output.classes for output in named.outputs] == [("no", "yes")] * 2


@pytest.mark.parametrize("classes", [["no"], ["a", "b", "c"]])
def test_a_different_number_of_classes_is_refused(classes: list[str]) -> None:
    with pytest.raises(SignatureError, match="has 2 classes"):
        complete(TENSOR, declared(classes=classes))


def test_named_classes_cannot_be_renamed() -> None:
    named = complete(TENSOR, declared(classes=["no", "yes"]))

    with pytest.raises(SignatureError, match="classes in the file"):
        complete(named, declared(classes=["bad", "good"]))


def test_a_table_has_a_dimension_for_rows() -> None:
    with pytest.raises(SignatureError, match="only an ONNX graph"):
        complete(TENSOR, Signature.from_json({"batching": "unbatched"}))


# -- columns of a training table


def columns(*items: dict[str, Any], **more: Any) -> Signature:
    return Signature.from_json({"columns": list(items), **more})


def test_columns_name_the_columns_of_a_matrix() -> None:
    declaration = columns({"name": "a", "datatype": "FP64"}, {"name": "b", "nullable": True})

    [tensor] = complete(TENSOR, declaration).inputs

    assert (tensor.datatype, tensor.features, tensor.nullable) == ("FP32", ("a", "b"), True)


def test_columns_that_the_model_does_not_use_are_ignored() -> None:
    declaration = columns(
        {"name": "unused", "datatype": "FP64"},
        {"name": "seats", "datatype": "INT64"},
        {"name": "city", "datatype": "BYTES", "nullable": True},
        {"name": "age", "datatype": "INT32"},
    )

    completed = complete(COLUMNS, declaration)

    assert [tensor.name for tensor in completed.inputs] == ["age", "city", "seats"]
    assert datatypes(completed) == ["FP64", "BYTES", "INT64"]
    assert [tensor.nullable for tensor in completed.inputs] == [False, True, False]


def test_spaces_that_lightgbm_replaced_in_names_are_restored() -> None:
    from_file = Signature((Input("features", "FP64", (-1, 2), ("sepal_length", "b")),))

    [tensor] = complete(from_file, columns({"name": "sepal length"}, {"name": "b"})).inputs

    assert tensor.features == ("sepal length", "b")


@pytest.mark.parametrize(
    ("from_file", "declared_columns", "message"),
    [
        (TENSOR, [{"name": "a"}], "takes 2 columns, not 1"),
        (TENSOR, [{"name": "a"}, {"name": "b", "datatype": "BYTES"}], "but 'b' is text"),
        (
            Signature((Input("features", "FP64", (-1, 2), ("x", "y")),)),
            [{"name": "a"}, {"name": "b"}],
            r"features is \['x', 'y'\] in the file",
        ),
    ],
)
def test_columns_that_contradict_the_file_are_refused(
    from_file: Signature, declared_columns: list[Any], message: str
) -> None:
    with pytest.raises(SignatureError, match=message):
        complete(from_file, columns(*declared_columns))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"columns": [{"name": "a"}], "inputs": [{"name": "a"}]}, "not both"),
        ({"columns": [{"name": "a", "shape": [-1, 2]}]}, "must be one value per row"),
        ({"columns": [{"name": "a"}, {"name": "a"}]}, "column 'a' is listed twice"),
        ({"columns": 3}, "columns: must be a list"),
        ({"columns": [{"name": "a", "datatype": "long"}]}, r"columns\[0\]\.datatype"),
    ],
)
def test_an_invalid_declaration_of_columns_is_refused(document: Any, message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        Signature.from_json(document)


# -- a remote model whose own signature contains what is declared


def test_probabilities_that_match_the_declaration_stay() -> None:
    from_file = Signature(
        TENSOR.inputs, (Output("p", "FP32", (-1, 2), "probabilities", ("no", "yes")),)
    )
    outputs = [{"name": "p", "kind": "probabilities", "classes": ["no", "yes"]}]

    assert complete(from_file, declared(outputs=outputs)).outputs == from_file.outputs


# -- columns of a matrix that may be inputs of their own

BOOSTER = Signature(
    (Input("features", "FP32", (-1, 3), (), True, ("BOOL", "INT64")),), COLUMNS.outputs
)


def column(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype}


def test_a_boolean_among_the_columns_makes_each_an_input() -> None:
    columns = [column("age", "FP64"), column("visits", "INT64"), column("member", "BOOL")]

    signature = complete(BOOSTER, declared(columns=columns))

    assert signature.inputs == (
        Input("age", "FP32", (-1,), nullable=True),
        Input("visits", "INT64", (-1,), nullable=True),
        Input("member", "BOOL", (-1,), nullable=True),
    )
    assert signature.feature_names == ("age", "visits", "member")


def test_columns_of_numbers_stay_one_matrix() -> None:
    columns = [column("age", "FP64"), column("visits", "INT64"), column("seats", "INT64")]

    [tensor] = complete(BOOSTER, declared(columns=columns)).inputs

    assert (tensor.datatype, tensor.features) == ("FP32", ("age", "visits", "seats"))


def test_columns_that_are_inputs_keep_the_names_in_the_file() -> None:
    named = replace(BOOSTER.inputs[0], features=("age", "visits", "member"))
    columns = [column("age", "FP64"), column("member", "BOOL"), column("visits", "INT64")]

    with pytest.raises(SignatureError, match="features is"):
        complete(replace(BOOSTER, inputs=(named,)), declared(columns=columns))


def test_the_error_for_columns_that_are_declared_as_inputs_says_how_to_declare_them() -> None:
    declaration = declared(column("age", "FP64"), column("member", "BOOL"))

    with pytest.raises(SignatureError, match="declare its columns as columns instead of inputs"):
        complete(BOOSTER, declaration)


def test_a_matrix_without_alternatives_takes_no_boolean_column() -> None:
    columns = [column("age", "FP64"), column("member", "BOOL")]

    [tensor] = complete(TENSOR, declared(columns=columns)).inputs

    assert (tensor.datatype, tensor.features) == ("FP32", ("age", "member"))


def test_an_alternative_may_be_declared_or_shown_by_example_rows() -> None:
    category = Signature((Input("zone", "BYTES", (-1,), alternatives=("INT64",)),))

    assert datatypes(complete(category, None)) == ["BYTES"]
    assert datatypes(complete(category, declared(column("zone", "INT64")))) == ["INT64"]
    assert datatypes(complete(category, None, [{"zone": 3}])) == ["INT64"]
    # A float is no alternative, so the value is refused later.
    assert datatypes(complete(category, None, [{"zone": 3.5}])) == ["BYTES"]
    with pytest.raises(SignatureError, match="datatype is BYTES in the file, not FP64"):
        complete(category, declared(column("zone", "FP64")))


def test_example_rows_do_not_overrule_a_declared_alternative() -> None:
    category = Signature((Input("zone", "BYTES", (-1,), alternatives=("INT64",)),))

    signature = complete(category, declared(column("zone", "BYTES")), [{"zone": 3}])

    assert datatypes(signature) == ["BYTES"]


def test_spaces_in_the_names_of_inputs_are_restored() -> None:
    inputs = (
        Input("home_city", "BYTES", (-1,), has_spaces_replaced=True),
        Input("zone_name", "BYTES", (-1,)),
    )
    columns = [column("home city", "BYTES"), column("zone name", "BYTES")]

    signature = complete(Signature(inputs), declared(columns=columns))

    assert signature.feature_names == ("home city", "zone_name")
