"""`register_model --to onnx`: what is registered, and what is refused."""

import hashlib
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from registry.conversion.parity import TOLERANCE
from registry.models import ModelVersion
from registry.testing import trained_models

pytestmark = [pytest.mark.slow, pytest.mark.any_database]


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> trained_models.Trained:
    return trained_models.iris_skops(tmp_path_factory.mktemp("iris") / "iris.skops")


def run(file: Path, *more: str) -> str:
    out = StringIO()
    call_command("register_model", str(file), "--name=m", "--version=1", *more, stdout=out)
    return out.getvalue()


def error_of(file: Path, *more: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(file, *more)
    assert not ModelVersion.objects.exists()
    return str(caught.value)


@pytest.mark.django_db
def test_the_onnx_file_is_the_artifact_and_the_tags_describe_its_source(
    iris: trained_models.Trained, model_path: Path, tmp_path: Path
) -> None:
    rows = np.resize(iris.rows, (1200, 4))
    example = tmp_path / "rows.ndjson"
    example.write_text("\n".join(map(json.dumps, rows.tolist())))
    more = ("--to=onnx", f"--example-file={example}", '--tags={"team": "risk"}')

    output = run(iris.path, *more)

    version = ModelVersion.objects.get()
    assert "Compared on 1,200 example rows: all labels are equal" in output
    assert version.framework == "onnx"
    assert [path.suffix for path in model_path.rglob("*.*") if path.is_file()] == [".onnx"]
    source = hashlib.sha256(iris.path.read_bytes()).hexdigest()
    converted_from, parity = version.tags["converted_from"], version.tags["parity"]
    assert version.tags["team"] == "risk"
    assert (converted_from["framework"], converted_from["sha256"], converted_from["file"]) == (
        "sklearn",
        source,
        "iris.skops",
    )
    assert converted_from["libraries"].keys() == {"scikit-learn", "skops"}
    assert parity["max_difference"] < TOLERANCE
    assert parity | {"max_difference": 0} == {
        "rows": 1200,
        "generated": False,
        "labels_equal": True,
        "max_difference": 0,
        "tolerance": TOLERANCE,
    }
    assert version.signature["outputs"][0]["classes"] == [0, 1, 2]

    assert "already registered" in run(iris.path, *more)
    assert ModelVersion.objects.count() == 1


@pytest.mark.django_db
def test_another_file_for_a_converted_version_is_refused(
    iris: trained_models.Trained, make_version: Any, tmp_path: Path
) -> None:
    make_version("m", tags={"converted_from": {"sha256": "0" * 64}})

    with pytest.raises(CommandError, match="not converted from this file"):
        run(iris.path, "--to=onnx")


@pytest.mark.django_db
def test_a_comparison_on_synthetic_rows_is_reported_as_such(
    iris: trained_models.Trained, model_path: Path
) -> None:
    output = run(iris.path, "--to=onnx")

    assert "2,000 synthetic rows, because no example rows were given" in output
    assert ModelVersion.objects.get().tags["parity"]["generated"] is True


@pytest.mark.django_db
def test_too_few_example_rows_are_refused(iris: trained_models.Trained, model_path: Path) -> None:
    example = json.dumps(iris.rows[:20].tolist())

    message = error_of(iris.path, "--to=onnx", f"--example={example}")

    assert "20 example rows prove too little: send at least 1,000" in message


@pytest.mark.django_db
def test_an_onnx_file_is_not_converted(model_path: Path, tmp_path: Path) -> None:
    message = error_of(trained_models.iris_onnx(tmp_path / "m.onnx").path, "--to=onnx")

    assert "is ONNX already" in message


@pytest.mark.django_db
def test_a_remote_model_is_not_converted(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "remote.json"
    path.write_text('{"url": "http://127.0.0.1:1", "model": "m"}')

    assert "there is no file to convert" in error_of(path, "--to=onnx")


@pytest.mark.django_db
def test_users_cannot_set_the_tags_of_a_conversion(
    iris: trained_models.Trained, model_path: Path
) -> None:
    assert "parity" in error_of(iris.path, "--to=onnx", '--tags={"parity": 1}')


@pytest.mark.django_db
def test_an_invalid_line_of_an_example_file_is_named(
    iris: trained_models.Trained, model_path: Path, tmp_path: Path
) -> None:
    example = tmp_path / "rows.ndjson"
    example.write_text("[1, 2, 3, 4]\n{oops\n")

    assert "line 2" in error_of(iris.path, f"--example-file={example}")


def test_the_command_imports_no_converter() -> None:
    code = (
        "import sys, registry.conversion.launch as c; "
        "print([m for m in ('sklearn', 'skl2onnx', 'onnx', 'xgboost', 'lightgbm') "
        "if m in sys.modules])"
    )

    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert process.stdout.strip() == b"[]"
