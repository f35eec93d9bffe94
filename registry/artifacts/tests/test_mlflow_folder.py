"""Folders of MLflow models: saved by the real mlflow (data/mlflow), and damaged here."""

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from registry.artifacts.mlflow_folder import read_folder
from registry.artifacts.store import ArtifactRejected
from registry.models import ModelVersion

FOLDERS = Path(__file__).resolve().parents[2] / "testing" / "data" / "mlflow"
IRIS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder with an MLmodel of these members, and a model file."""

    def folder(**members: Any) -> Path:
        sklearn = {"pickled_model": "model.skops", "serialization_format": "skops"}
        body = {"mlflow_version": "3.17.2", "flavors": {"sklearn": sklearn}, **members}
        path = tmp_path / "saved"
        path.mkdir(exist_ok=True)
        (path / "MLmodel").write_text(yaml.safe_dump(body))
        (path / "model.skops").write_bytes(b"PK")
        return path

    return folder


def signature(*inputs: Any) -> dict[str, Any]:
    return {"inputs": json.dumps(inputs)}


def register(folder: Path, *more: str) -> str:
    if folder.name == "sklearn_mixed":
        # Its encoder knows two cities, and fails on a made-up one.
        more = ('--example=[{"city": "Oslo", "seats": 1}]', *more)
    out = StringIO()
    call_command("register_model", str(folder), "--name=iris", "--version=1", *more, stdout=out)
    return out.getvalue()


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
        ("onnx_classifier", "onnx", ["X"], ["X"]),
    ],
)
def test_a_folder_registers_with_its_columns(
    name: str, framework: str, features: list[str], inputs: list[str]
) -> None:
    said = register(FOLDERS / name)

    version = ModelVersion.objects.get()
    assert version.framework == framework
    told = version.signature["inputs"]
    assert [tensor["name"] for tensor in told] == inputs
    assert [key for t in told for key in t.get("features", [t["name"]])] == features
    origin = version.tags["mlflow"]
    assert (origin["version"], origin["flavor"]) == ("3.17.2", framework)
    assert f"Registered iris:1 as id {version.pk}: {framework}" in said


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_the_same_folder_again_changes_nothing() -> None:
    register(FOLDERS / "xgboost_classifier")

    assert "registered already" in register(FOLDERS / "xgboost_classifier")
    assert ModelVersion.objects.count() == 1


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_options_win_over_the_folder() -> None:
    columns = {"columns": [{"name": name} for name in "abcd"]}

    register(
        FOLDERS / "sklearn_two_targets",
        '--metrics={"mae": 0.5}',
        '--tags={"team": "risk"}',
        f"--signature={json.dumps(columns)}",
    )

    version = ModelVersion.objects.get()
    assert version.metrics == {"mae": 0.5}
    assert version.tags.keys() == {"team", "mlflow"}
    assert version.signature["inputs"][0]["features"] == list("abcd")


@pytest.mark.usefixtures("cached_proofs", "model_path", "db")
def test_another_function_than_predict_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "sklearn_classifier"
    shutil.copytree(FOLDERS / "sklearn_classifier", folder)
    told = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(
        told.replace("predict_fn: predict", "predict_fn: predict_proba")
    )

    assert "MLflow serves this model by predict_proba" in register(folder)


@pytest.mark.usefixtures("model_path", "db")
@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("sklearn_pickle", (), r"is a pickle.*serialization_format=\"skops\""),
        ("xgboost_booster", ("--framework=sklearn",), "the file is one of 'xgboost'"),
        ("xgboost_booster", ('--tags={"mlflow": 1}',), "mlflow is written for a folder"),
        (".", (), "No folder of an MLflow model"),
    ],
)
def test_a_folder_that_is_refused_registers_nothing(
    name: str, more: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        register(FOLDERS / name, *more)

    assert not ModelVersion.objects.exists()


# -- what an MLmodel may say


def test_types_become_datatypes(folder: Any) -> None:
    kinds = ["boolean", "integer", "long", "float", "double", "string"]
    specs: list[Any] = [{"type": kind, "name": kind} for kind in kinds]
    specs += [
        {"type": "double", "name": "gaps", "required": False},
        {"type": "long", "name": "counts", "required": False},
        {"type": "string", "name": "note", "optional": True},
    ]

    told = read_folder(folder(signature=signature(*specs))).signature

    assert told == {
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
    "told",
    [None, {}, {"inputs": None}, signature({"type": "tensor", "tensor-spec": {}}), 3],
)
def test_without_named_columns_the_file_tells_all(folder: Any, told: Any) -> None:
    assert read_folder(folder(signature=told)).signature is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"inputs": "{"}, "inputs is no JSON"),
        ({"inputs": 3}, "inputs is no JSON"),
        ({"inputs": "[" * 100_000}, "inputs is no JSON"),
        ({"inputs": "{}"}, "a list of 1 to 10000 columns"),
        (signature(3), r"inputs\[0\] is no object"),
        (signature({"type": "datetime", "name": "day"}), "'day' is of the type datetime"),
        (signature({"type": "array", "name": "xs"}), "'xs' is of the type array"),
        (signature({"type": ["long"], "name": "xs"}), "'xs' is of the type"),
        (signature({"type": "long", "name": ""}), r"inputs\[0\].name must be"),
        (signature({"type": "long", "name": "a"}, {"type": "long"}), "with and without names"),
    ],
)
def test_a_signature_that_can_not_be_used_is_refused(folder: Any, told: Any, said: str) -> None:
    path = folder(signature=told)

    with pytest.raises(ArtifactRejected, match=said) as caught:
        read_folder(path)

    assert caught.value.errors.keys() == {"signature"}
    assert read_folder(path, with_signature=False).signature is None


@pytest.mark.parametrize(
    ("told", "metrics"),
    [
        ({"accuracy": 0.9, "n": 3}, {"accuracy": 0.9, "n": 3}),
        ([{"key": "accuracy", "value": 0.9, "step": 0}], {"accuracy": 0.9}),
        ([{"key": ["a"], "value": 1}, {"value": 2}, 3], None),
        ({"a": "x", "b": True, "c": None}, None),
        (None, None),
        (7, None),
    ],
)
def test_metrics_are_numbers_by_name(folder: Any, told: Any, metrics: Any) -> None:
    assert read_folder(folder(metrics=told)).metrics == metrics


def test_the_origin_keeps_what_is_known(folder: Any) -> None:
    function = {"loader_module": "mlflow.sklearn", "predict_fn": "predict_proba"}
    sklearn = {"pickled_model": "model.skops", "sklearn_version": "1.9.1"}
    path = folder(run_id="r" * 500, flavors={"python_function": function, "sklearn": sklearn})

    assert read_folder(path).origin == {
        "version": "3.17.2",
        "flavor": "sklearn",
        "library_version": "1.9.1",
        "predict_fn": "predict_proba",
        "run_id": "r" * 200,
    }


@pytest.mark.parametrize(
    ("flavors", "said"),
    [
        (None, "has no flavors"),
        ({}, "has no flavors"),
        ([], "has no flavors"),
        ({"python_function": {"loader_module": "mlflow.pyfunc.model"}}, "A python_function alone"),
        ({"pytorch": {}, "python_function": {}}, "has the flavors python_function, pytorch, and"),
        ({"sklearn": {"pickled_model": "model.pkl"}}, "'model.pkl' is a pickle"),
        (
            {"sklearn": {"pickled_model": "model.skops", "serialization_format": "cloudpickle"}},
            "is a pickle",
        ),
        ({"lightgbm": {"data": "model.skops"}}, r"is no LightGBM file.*model\.booster_"),
        ({"sklearn": {}}, "does not name the file"),
        ({"onnx": {"data": 3}}, "does not name the file"),
        ({"onnx": {"data": "gone.onnx"}}, "has no file 'gone.onnx'"),
        ({"onnx": {"data": "."}}, "is outside the folder"),
        ({"onnx": {"data": "../MLmodel"}}, "is outside the folder"),
        ({"onnx": {"data": "/etc/passwd"}}, "is outside the folder"),
        ({"onnx": {"data": "a\0b"}}, "is outside the folder"),
    ],
)
def test_a_model_that_is_not_served_is_refused(folder: Any, flavors: Any, said: str) -> None:
    with pytest.raises(ArtifactRejected, match=said):
        read_folder(folder(flavors=flavors))


@pytest.mark.parametrize("name", ["model.skops", "MLmodel"])
def test_no_link_leads_out_of_the_folder(folder: Any, tmp_path: Path, name: str) -> None:
    path = folder()
    outside = tmp_path / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)

    with pytest.raises(ArtifactRejected, match="is outside the folder of the model"):
        read_folder(path)


def test_a_link_inside_the_folder_is_fine(folder: Any) -> None:
    path = folder()
    (path / "model.skops").rename(path / "real.skops")
    (path / "model.skops").symlink_to("real.skops")

    assert read_folder(path).path == path.resolve() / "real.skops"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flavors: [", "is not the YAML"),
        ("- 1", "is not a mapping"),
        ("", "is not a mapping"),
        ("a: &x [1]\nb: *x", "it holds aliases"),
        ("a: !!python/object/apply:os.system [x]", "is not the YAML"),
        ("day: 2026-99-99", "is not the YAML"),
        ("[" * 5000, "is not the YAML"),
        ("#" * (2**20 + 1), "is larger than"),
        ("\x00", "is not the YAML"),
    ],
)
def test_a_text_that_is_no_mlmodel_is_refused(folder: Any, text: str, said: str) -> None:
    path = folder()
    (path / "MLmodel").write_text(text)

    with pytest.raises(ArtifactRejected, match=said):
        read_folder(path)
