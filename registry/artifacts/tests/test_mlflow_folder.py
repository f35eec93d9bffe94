"""Folders of MLflow models: those saved by MLflow itself (testing/data/mlflow), and broken ones."""

import json
import shlex
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.mlflow_folder import read_folder
from registry.models import ModelVersion
from registry.testing.folders import MLFLOW_FOLDERS, register_folder

IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder with a model file and an MLmodel with these members."""

    def make(**members: Any) -> Path:
        sklearn = {"pickled_model": "model.skops", "serialization_format": "skops"}
        body = {"mlflow_version": "3.17.2", "flavors": {"sklearn": sklearn}, **members}
        path = tmp_path / "saved"
        path.mkdir(exist_ok=True)
        (path / "MLmodel").write_text(yaml.safe_dump(body))
        (path / "model.skops").write_bytes(b"PK")
        return path

    return make


def signature(*inputs: Any) -> dict[str, Any]:
    return {"inputs": json.dumps(inputs)}


# -- real folders


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
@pytest.mark.parametrize(
    ("name", "framework", "features", "inputs"),
    [
        ("sklearn_classifier", "sklearn", IRIS, ["features"]),
        ("sklearn_two_targets", "sklearn", ["features"], ["features"]),
        ("sklearn_mixed", "sklearn", ["city", "seats"], ["city", "seats"]),
        ("xgboost_classifier", "xgboost", IRIS, ["features"]),
        ("xgboost_booster", "xgboost", IRIS, ["features"]),
        ("lightgbm_booster", "lightgbm", IRIS, ["features"]),
        ("lightgbm_classifier", "sklearn", IRIS, ["features"]),
        ("onnx_classifier", "onnx", ["X"], ["X"]),
        ("onnx_external_data", "onnx", ["x"], ["x"]),
    ],
)
def test_a_folder_registers_with_its_columns(
    name: str, framework: str, features: list[str], inputs: list[str]
) -> None:
    output = register_folder(MLFLOW_FOLDERS / name)

    version = ModelVersion.objects.get()
    assert version.framework == framework
    tensors = version.signature["inputs"]
    assert [tensor["name"] for tensor in tensors] == inputs
    assert [key for t in tensors for key in t.get("features", [t["name"]])] == features
    origin = version.tags["mlflow"]
    assert (origin["version"], origin["flavor"]) == ("3.17.2", name.partition("_")[0])
    assert f"Registered iris:1 as id {version.pk}: {framework}" in output


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_the_same_folder_again_changes_nothing() -> None:
    register_folder(MLFLOW_FOLDERS / "xgboost_classifier")

    assert "already registered" in register_folder(MLFLOW_FOLDERS / "xgboost_classifier")
    assert ModelVersion.objects.count() == 1


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_options_take_precedence_over_the_folder() -> None:
    columns = {"columns": [{"name": name} for name in "abcd"]}

    register_folder(
        MLFLOW_FOLDERS / "sklearn_two_targets",
        '--metrics={"mae": 0.5}',
        '--tags={"team": "risk"}',
        f"--signature={json.dumps(columns)}",
    )

    version = ModelVersion.objects.get()
    assert version.metrics == {"mae": 0.5}
    assert version.tags.keys() == {"team", "mlflow"}
    assert version.signature["inputs"][0]["features"] == list("abcd")


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_a_function_other_than_predict_causes_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "sklearn_classifier"
    shutil.copytree(MLFLOW_FOLDERS / "sklearn_classifier", folder)
    text = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(
        text.replace("predict_fn: predict", "predict_fn: predict_proba")
    )

    assert "MLflow serves this model with predict_proba" in register_folder(folder)


@pytest.mark.usefixtures("model_path", "db")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "sklearn_pickle",
            (),
            r"manage\.py convert_pickle \S+/sklearn_pickle/model\.pkl --to skops",
        ),
        ("lightgbm_pickle", (), r"convert_pickle \S+/lightgbm_pickle/model\.pkl --to skops"),
        ("xgboost_booster", ("--framework=sklearn",), "the file is of 'xgboost'"),
        ("xgboost_booster", ('--tags={"mlflow": 1}',), "the tag mlflow is reserved"),
        (".", (), "not the folder of an MLflow model"),
    ],
)
def test_a_rejected_folder_registers_nothing(
    name: str, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        register_folder(MLFLOW_FOLDERS / name, *options)

    assert not ModelVersion.objects.exists()


# -- the content of MLmodel


def test_column_types_become_datatypes(make_folder: Any) -> None:
    kinds = ["boolean", "integer", "long", "float", "double", "string"]
    specs: list[Any] = [{"type": kind, "name": kind} for kind in kinds]
    specs += [
        {"type": "double", "name": "gaps", "required": False},
        {"type": "long", "name": "counts", "required": False},
        {"type": "string", "name": "note", "optional": True},
    ]

    declared = read_folder(make_folder(signature=signature(*specs))).signature

    assert declared == {
        "columns": [
            {"name": "boolean", "datatype": "BOOL"},
            {"name": "integer", "datatype": "INT32"},
            {"name": "long", "datatype": "INT64"},
            {"name": "float", "datatype": "FP32"},
            {"name": "double", "datatype": "FP64"},
            {"name": "string", "datatype": "BYTES"},
            {"name": "gaps", "datatype": "FP64", "nullable": True},
            {"name": "counts", "datatype": "FP64", "nullable": True},
            {"name": "note", "datatype": "BYTES", "nullable": True},
        ]
    }


@pytest.mark.parametrize(
    "mlflow_signature",
    [None, {}, {"inputs": None}, signature({"type": "tensor", "tensor-spec": {}}), 3],
)
def test_without_named_columns_nothing_is_declared(make_folder: Any, mlflow_signature: Any) -> None:
    assert read_folder(make_folder(signature=mlflow_signature)).signature is None


@pytest.mark.parametrize(
    ("mlflow_signature", "message"),
    [
        ({"inputs": "{"}, "inputs is not valid JSON"),
        ({"inputs": 3}, "inputs is not valid JSON"),
        ({"inputs": "[" * 100_000}, "inputs is not valid JSON"),
        ({"inputs": "{}"}, "a list of 1 to 10000 columns"),
        (signature(3), r"inputs\[0\] must be an object"),
        (signature({"type": "datetime", "name": "day"}), "'day' has the type datetime"),
        (signature({"type": "array", "name": "xs"}), "'xs' has the type array"),
        (signature({"type": ["long"], "name": "xs"}), "'xs' has the type"),
        (signature({"type": "long", "name": ""}), r"inputs\[0\].name must be"),
        (signature({"type": "long", "name": "a"}, {"type": "long"}), "with and without names"),
    ],
)
def test_an_unusable_signature_is_rejected(
    make_folder: Any, mlflow_signature: Any, message: str
) -> None:
    path = make_folder(signature=mlflow_signature)

    with pytest.raises(ArtifactRejected, match=message) as caught:
        read_folder(path)

    assert caught.value.errors.keys() == {"signature"}
    assert read_folder(path, with_signature=False).signature is None


@pytest.mark.parametrize(
    ("mlflow_metrics", "metrics"),
    [
        ({"accuracy": 0.9, "n": 3}, {"accuracy": 0.9, "n": 3}),
        ([{"key": "accuracy", "value": 0.9, "step": 0}], {"accuracy": 0.9}),
        ([{"key": ["a"], "value": 1}, {"value": 2}, 3], None),
        ({"a": "x", "b": True, "c": None}, None),
        (None, None),
        (7, None),
    ],
)
def test_only_numeric_metrics_are_kept(make_folder: Any, mlflow_metrics: Any, metrics: Any) -> None:
    assert read_folder(make_folder(metrics=mlflow_metrics)).metrics == metrics


def test_the_origin_describes_the_mlflow_model(make_folder: Any) -> None:
    function = {"loader_module": "mlflow.sklearn", "predict_fn": "predict_proba"}
    sklearn = {"pickled_model": "model.skops", "sklearn_version": "1.9.1"}
    path = make_folder(run_id="r" * 500, flavors={"python_function": function, "sklearn": sklearn})

    assert read_folder(path).origin == {
        "version": "3.17.2",
        "flavor": "sklearn",
        "library_version": "1.9.1",
        "predict_fn": "predict_proba",
        "run_id": "r" * 200,
    }


@pytest.mark.parametrize(
    ("flavors", "message"),
    [
        (None, "has no flavors"),
        ({}, "has no flavors"),
        ([], "has no flavors"),
        (
            {"python_function": {"loader_module": "mlflow.pyfunc.model"}},
            "only the flavor python_function",
        ),
        ({"pytorch": {}, "python_function": {}}, "has the flavors python_function, pytorch, but"),
        ({"sklearn": {}}, "does not name the model file"),
        ({"onnx": {"data": 3}}, "does not name the model file"),
        ({"onnx": {"data": "gone.onnx"}}, "has no file 'gone.onnx'"),
        ({"onnx": {"data": "."}}, "is outside the model's folder"),
        ({"onnx": {"data": "../MLmodel"}}, "is outside the model's folder"),
        ({"onnx": {"data": "/etc/passwd"}}, "is outside the model's folder"),
        ({"onnx": {"data": "a\0b"}}, "is outside the model's folder"),
    ],
)
def test_an_unsupported_model_is_rejected(make_folder: Any, flavors: Any, message: str) -> None:
    with pytest.raises(ArtifactRejected, match=message):
        read_folder(make_folder(flavors=flavors))


@pytest.mark.parametrize("name", ["model.skops", "MLmodel"])
def test_no_link_leads_out_of_the_folder(make_folder: Any, tmp_path: Path, name: str) -> None:
    path = make_folder()
    outside = tmp_path / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)

    with pytest.raises(ArtifactRejected, match="is outside the model's folder"):
        read_folder(path)


def test_a_link_inside_the_folder_is_accepted(make_folder: Any) -> None:
    path = make_folder()
    (path / "model.skops").rename(path / "real.skops")
    (path / "model.skops").symlink_to("real.skops")

    assert read_folder(path).path == path.resolve() / "real.skops"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flavors: [", "is not valid YAML"),
        ("- 1", "is not a mapping"),
        ("", "is not a mapping"),
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("a: !!python/object/apply:os.system [x]", "is not valid YAML"),
        ("day: 2026-99-99", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("#" * (2**20 + 1), "is larger than"),
        ("\x00", "is not valid YAML"),
    ],
)
def test_an_invalid_mlmodel_is_rejected(make_folder: Any, text: str, message: str) -> None:
    path = make_folder()
    (path / "MLmodel").write_text(text)

    with pytest.raises(ArtifactRejected, match=message):
        read_folder(path)


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.usefixtures("model_path", "db")
def test_the_command_for_a_pickle_makes_its_folder_registrable(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    shutil.copytree(MLFLOW_FOLDERS / "sklearn_pickle", folder)
    with pytest.raises(CommandError) as caught:
        register_folder(folder)
    words = shlex.split(str(caught.value).partition("again: ")[2])

    assert words[:2] == ["python", "manage.py"]
    call_command(*words[2:], "--yes", stdout=StringIO())
    register_folder(folder)

    version = ModelVersion.objects.get()
    assert version.signature["inputs"][0]["features"] == IRIS
    assert version.signature["outputs"][0]["classes"] == ["setosa", "versicolor", "virginica"]
    assert version.tags["mlflow"]["flavor"] == "sklearn"
