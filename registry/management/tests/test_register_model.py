"""The register_model command: a file becomes a version, once."""

import json
import pickle
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from registry.models import ModelVersion
from registry.testing.artifacts import Artifact

pytestmark = pytest.mark.usefixtures("cached_proofs", "model_path", "db")


def register(file: Path, *options: str, version: str = "1") -> str:
    output = StringIO()
    call_command(
        "register_model", str(file), "--name=iris", f"--version={version}", *options, stdout=output
    )
    return output.getvalue()


@pytest.fixture
def file(tmp_path: Path, iris_artifact: Artifact) -> Path:
    path = tmp_path / "whatever.bin"
    path.write_bytes(iris_artifact.content)
    return path


def test_the_framework_is_detected_from_the_content(
    file: Path, iris_artifact: Artifact, model_path: Path
) -> None:
    output = register(
        file, '--metrics={"accuracy": 1e20}', '--tags={"a": 1}', "--description=Three", version="7"
    )

    version = ModelVersion.objects.get()
    assert (version.name, version.version, version.framework) == ("iris", "7", "sklearn")
    assert (version.metrics, version.tags) == ({"accuracy": 1e20}, {"a": 1})
    assert (version.description, version.created_by) == ("Three", None)
    assert version.sha256 == iris_artifact.sha256
    assert (model_path / version.artifact).read_bytes() == iris_artifact.content
    assert f"Registered iris:7 as id {version.pk}" in output


def test_registering_the_same_file_again_changes_nothing(file: Path, model_path: Path) -> None:
    register(file)
    files = list(model_path.rglob("*.skops"))

    output = register(file)

    assert "iris:1 is already registered" in output
    assert list(model_path.rglob("*.skops")) == files
    assert ModelVersion.objects.count() == 1


def test_another_file_for_a_taken_version_is_refused(
    file: Path, diabetes_artifact: Artifact
) -> None:
    register(file)
    file.write_bytes(diabetes_artifact.content)

    with pytest.raises(CommandError, match=r"with another file\. Choose another version"):
        register(file)


def test_example_rows_and_a_signature_are_accepted(
    tmp_path: Path, mixed_artifact: Artifact
) -> None:
    path = tmp_path / "mixed.skops"
    path.write_bytes(mixed_artifact.content)
    signature = '{"inputs": [{"name": "city", "datatype": "BYTES"}]}'

    register(path, f"--example={json.dumps(mixed_artifact.example)}", f"--signature={signature}")

    stored = ModelVersion.objects.get().signature
    assert [tensor["name"] for tensor in stored["inputs"]] == ["city", "age", "income"]


def test_limits_are_stored(file: Path) -> None:
    register(file, "--max-concurrency=3", "--timeout-seconds=0.5")

    version = ModelVersion.objects.get()
    assert (version.max_concurrency, version.timeout_seconds) == (3, 0.5)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--name=../x", "--name: "),
        ("--version=1/2", "--version: "),
        ("--metrics={", "--metrics is not valid JSON"),
        ('--metrics={"x": NaN}', "--metrics is not valid JSON"),
        ("--metrics=[1]", "--metrics: "),
        ("--tags=[]", "--tags: "),
        ("--max-concurrency=0", "--max-concurrency: "),
        ("--timeout-seconds=never", "--timeout-seconds: "),
        ("--signature={", "--signature is not valid JSON"),
        ('--signature={"input": 1}', "--signature: "),
        ("--example=[]", "--example: "),
        ("--framework=onnx", "'onnx', but the file is of 'sklearn'"),
        ("--framework=keras", "invalid choice: 'keras'"),
    ],
)
def test_an_invalid_option_is_reported_and_nothing_is_registered(
    file: Path, model_path: Path, option: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        register(file, option)

    assert ModelVersion.objects.count() == 0
    assert not [path for path in model_path.rglob("*") if path.is_file()]


def test_a_pickle_is_rejected_with_what_to_do_instead(
    file: Path, iris_artifact: Artifact, model_path: Path
) -> None:
    file.write_bytes(pickle.dumps(iris_artifact.model))

    with pytest.raises(CommandError, match=r"skops\.io\.dump"):
        register(file)

    assert not [path for path in model_path.rglob("*") if path.is_file()]


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"gone\.skops cannot be read"):
        register(tmp_path / "gone.skops")
