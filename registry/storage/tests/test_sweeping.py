"""Sweeping artifacts that no version has."""

import os
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from registry import services
from registry.artifacts.staging import receive
from registry.models import ModelVersion
from registry.storage import files, sweeping
from registry.storage.stores.base import Content, new_key
from registry.testing.artifacts import Artifact
from registry.testing.folders import files_below

pytestmark = pytest.mark.django_db(transaction=True)

EARLIER = "iris/7/0123456789abcdef0123456789abcdef.skops"


def sweep(*options: str) -> str:
    out = StringIO()
    call_command("sweep_artifacts", *options, stdout=out)
    return out.getvalue()


def put(data: bytes) -> str:
    """An artifact without a row; its key."""
    store = files.current_store()
    staged = receive([data], Path(settings.MODEL_PATH), limit_bytes=2**20)
    key = new_key(staged.sha256, ".skops")
    store.put(staged.path, key, Content(staged.sha256, staged.size_bytes))
    staged.discard()
    return key


def make_old(path: Path) -> None:
    os.utime(path, (0, 0))


def test_old_files_without_a_version_are_found_and_deleted(
    iris: ModelVersion, model_path: Path
) -> None:
    key, young = put(b"orphan"), put(b"young")
    earlier = model_path / EARLIER
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"x")
    for path in (model_path / key, earlier, model_path / iris.artifact):
        make_old(path)

    output = sweep()
    assert "Found 2 artifacts without a version" in output
    assert "--delete" in output
    assert key in files_below(model_path)

    assert "Deleted 2 artifacts" in sweep("--delete")
    assert files_below(model_path) == sorted([iris.artifact, young])
    assert "Found 0 artifacts" in sweep()


def test_a_file_that_is_registered_again_meanwhile_stays(
    iris: ModelVersion, model_path: Path, cached_proofs: None, diabetes_artifact: Artifact
) -> None:
    key = put(diabetes_artifact.content)
    make_old(model_path / key)

    with files.claimed(key):
        assert "Deleted 0 artifacts" in sweep("--delete")
    version = services.register_model(
        name="diabetes", upload=services.Upload([diabetes_artifact.content])
    )

    assert version.artifact == key
    assert "Deleted 0 artifacts" in sweep("--delete", "--older-than-hours=0")
    assert key in files_below(model_path)


def test_a_database_without_a_version_there_deletes_nothing(model_path: Path) -> None:
    key = put(b"orphan")
    make_old(model_path / key)

    with pytest.raises(CommandError, match="Check DATABASE_URL"):
        sweep("--delete")

    assert files_below(model_path) == [key]


def test_a_storage_that_cannot_be_listed_is_an_error_message(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise FileNotFoundError("there is no such bucket")

    monkeypatch.setattr(sweeping, "orphans", refuse)

    with pytest.raises(CommandError, match="there is no such bucket"):
        sweep()


@pytest.mark.parametrize("hours", ["-1", "1.5", "x", "999999999"])
def test_hours_are_whole_numbers(model_path: Path, hours: str) -> None:
    with pytest.raises(CommandError, match="must be a whole number"):
        sweep(f"--older-than-hours={hours}")


@pytest.mark.slow
def test_a_bucket_is_swept(in_bucket: str, cached_proofs: None, iris_artifact: Artifact) -> None:
    version = services.register_model(name="iris", upload=services.Upload([iris_artifact.content]))
    key = put(b"orphan")

    assert "Found 0 artifacts" in sweep()
    assert "Deleted 1 artifacts" in sweep("--delete", "--older-than-hours=0")

    assert [entry.key for entry in files.current_store().entries()] == [
        version.artifact.removeprefix(f"{in_bucket}/")
    ]
    assert key not in version.artifact
