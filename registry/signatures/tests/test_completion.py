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


def datatypes(told: Signature) -> list[str | None]:
    return [tensor.datatype for tensor in told.inputs]


def test_a_declared_type_is_filled_in() -> None:
    wish = declared({"name": "city", "datatype": "BYTES"}, {"name": "seats", "datatype": "INT64"})

    assert datatypes(complete(COLUMNS, wish)) == ["FP64", "BYTES", "INT64"]


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
def test_example_rows_tell_a_type(values: list[object], datatype: str, nullable: bool) -> None:
    rows = [{"age": 1.5, "city": "Bern", "seats": value} for value in values]

    seats = complete(COLUMNS, None, rows).inputs[2]

    assert (seats.datatype, seats.nullable) == (datatype, nullable)


@pytest.mark.parametrize("values", [[1, "a"], [True, 1], [True, None], [{}]])
def test_example_rows_that_disagree_are_refused(values: list[object]) -> None:
    rows = [{"age": 1.5, "city": "Bern", "seats": value} for value in values]

    with pytest.raises(SignatureError, match="seats"):
        complete(COLUMNS, None, rows)


def test_what_nobody_tells_is_named() -> None:
    with pytest.raises(SignatureError, match="'city', 'seats'"):
        complete(COLUMNS, None)


def test_a_column_of_nulls_alone_stays_unknown() -> None:
    with pytest.raises(SignatureError, match="'seats'"):
        complete(COLUMNS, None, [{"age": 1.5, "city": "Bern", "seats": None}])


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"name": "features", "datatype": "FP64"}, "FP32 in the file, not FP64"),
        ({"name": "features", "datatype": "BYTES"}, "FP32 in the file, not BYTES"),
        ({"name": "features", "shape": [-1, 3]}, "shape"),
        ({"name": "features", "features": ["a"]}, "2 columns in the file, not 1"),
        ({"name": "other"}, "no input 'other'"),
    ],
)
def test_what_contradicts_the_file_is_refused(wish: dict[str, Any], said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        complete(TENSOR, declared(wish))


def test_an_integer_that_the_file_takes_as_a_float_is_no_contradiction() -> None:
    assert datatypes(complete(TENSOR, declared({"name": "features", "datatype": "INT16"}))) == [
        "FP32"
    ]


def test_columns_of_a_tensor_can_be_named() -> None:
    named = complete(TENSOR, declared({"name": "features", "features": ["a", "b"]}))

    assert named.feature_names == ("a", "b")


def test_an_integer_column_cannot_be_nullable() -> None:
    wish = declared(
        {"name": "city", "datatype": "BYTES"},
        {"name": "seats", "datatype": "INT64", "nullable": True},
    )

    with pytest.raises(SignatureError, match="no missing value"):
        complete(COLUMNS, wish)


def test_numbered_classes_can_be_named() -> None:
    named = complete(TENSOR, declared(classes=["no", "yes"]))

    assert named.outputs[0].datatype == "BYTES"
    assert [output.classes for output in named.outputs] == [("no", "yes")] * 2


@pytest.mark.parametrize("classes", [["no"], ["a", "b", "c"]])
def test_another_number_of_classes_is_refused(classes: list[str]) -> None:
    with pytest.raises(SignatureError, match="has 2 classes"):
        complete(TENSOR, declared(classes=classes))


def test_classes_that_the_file_names_cannot_be_renamed() -> None:
    named = complete(TENSOR, declared(classes=["no", "yes"]))

    with pytest.raises(SignatureError, match="classes in the file"):
        complete(named, declared(classes=["bad", "good"]))


# -- columns of a training table


def columns(*told: dict[str, Any], **more: Any) -> Signature:
    return Signature.from_json({"columns": list(told), **more})


def test_columns_give_one_tensor_its_names() -> None:
    wish = columns({"name": "a", "datatype": "FP64"}, {"name": "b", "nullable": True})

    [tensor] = complete(TENSOR, wish).inputs

    assert (tensor.datatype, tensor.features, tensor.nullable) == ("FP32", ("a", "b"), True)


def test_columns_that_the_model_does_not_use_are_nobodys() -> None:
    wish = columns(
        {"name": "unused", "datatype": "FP64"},
        {"name": "seats", "datatype": "INT64"},
        {"name": "city", "datatype": "BYTES", "nullable": True},
        {"name": "age", "datatype": "INT32"},
    )

    told = complete(COLUMNS, wish)

    assert [tensor.name for tensor in told.inputs] == ["age", "city", "seats"]
    assert datatypes(told) == ["FP64", "BYTES", "INT64"]
    assert [tensor.nullable for tensor in told.inputs] == [False, True, False]


def test_names_that_lightgbm_wrote_without_blanks_get_them_back() -> None:
    own = Signature((Input("features", "FP64", (-1, 2), ("sepal_length", "b")),))

    [tensor] = complete(own, columns({"name": "sepal length"}, {"name": "b"})).inputs

    assert tensor.features == ("sepal length", "b")


@pytest.mark.parametrize(
    ("told", "names", "said"),
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
    told: Signature, names: list[Any], said: str
) -> None:
    with pytest.raises(SignatureError, match=said):
        complete(told, columns(*names))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"columns": [{"name": "a"}], "inputs": [{"name": "a"}]}, "not both"),
        ({"columns": [{"name": "a", "shape": [-1, 2]}]}, "each is one value a row"),
        ({"columns": [{"name": "a"}, {"name": "a"}]}, "column 'a' is named twice"),
        ({"columns": 3}, "columns: must be a list"),
        ({"columns": [{"name": "a", "datatype": "long"}]}, r"columns\[0\]\.datatype"),
    ],
)
def test_columns_are_declared_plainly(document: Any, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        Signature.from_json(document)


# -- a remote model, which tells what was declared of it


def test_probabilities_that_are_told_as_declared_are_left() -> None:
    own = Signature(TENSOR.inputs, (Output("p", "FP32", (-1, 2), "probabilities", ("no", "yes")),))
    outputs = [{"name": "p", "kind": "probabilities", "classes": ["no", "yes"]}]

    assert complete(own, declared(outputs=outputs)).outputs == own.outputs
