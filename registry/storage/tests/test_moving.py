"""Moving artifacts between a folder and object storage."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from registry.loading import loader
from registry.models import ModelVersion
from registry.storage import files, moving
from registry.testing.folders import files_below
from registry.testing.versions import MakeVersion

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def move(source: object, target: object, *options: str) -> str:
    out = StringIO()
    call_command(
        "move_artifacts", f"--from={source}", f"--to={target}", *options, stdout=out, stderr=out
    )
    return out.getvalue()


def keys(url: str) -> list[str]:
    return sorted(entry.key for entry in files.store_at(url).entries())


def artifact_of(version: ModelVersion) -> str:
    return ModelVersion.objects.get(pk=version.pk).artifact


def test_artifacts_are_moved_to_the_bucket_and_back(
    iris: ModelVersion, diabetes: ModelVersion, in_bucket: str, model_path: Path
) -> None:
    before = files_below(model_path)

    assert "Moved 2 versions" in move(model_path, in_bucket)
    assert {artifact_of(iris), artifact_of(diabetes)} == {
        f"{in_bucket}/{key}" for key in keys(in_bucket)
    }
    assert files_below(model_path) == before
    assert "Moved 0 versions" in move(model_path, in_bucket)
    assert loader.get(iris.pk).version == iris

    assert "Moved 2 versions" in move(in_bucket, model_path, "--delete-source")
    assert keys(in_bucket) == []
    assert artifact_of(iris).startswith("sha256/")
    loader.cache.drop([iris.pk])
    assert loader.get(iris.pk).version == iris
    # Nothing was cached on the way but what was loaded.
    assert [name for name in files_below(model_path) if name.startswith(".cache")] == [
        f".cache/{iris.sha256}.skops"
    ]


def test_sources_are_deleted_once_the_target_has_them(
    iris: ModelVersion, make_version: MakeVersion, in_bucket: str, model_path: Path
) -> None:
    earlier = "iris/1/0123456789abcdef0123456789abcdef.skops"
    (model_path / iris.artifact).rename(model_path / earlier)
    ModelVersion.objects.update(artifact=earlier)
    orphan = model_path / "iris/2/0123456789abcdef0123456789abcdef.skops"
    orphan.parent.mkdir()
    orphan.write_bytes(b"somebody else's")
    move(model_path, in_bucket)

    assert "Deleted 1 artifacts" in move(model_path, in_bucket, "--delete-source")

    assert files_below(model_path) == [str(orphan.relative_to(model_path))]


def test_versions_with_the_same_content_are_moved_together(
    make_version: MakeVersion, iris_artifact: Any, in_bucket: str, model_path: Path
) -> None:
    for version in ("1", "2"):
        make_version("iris", iris_artifact, version=version)

    move(model_path, in_bucket, "--delete-source")

    assert len(keys(in_bucket)) == 1
    assert set(ModelVersion.objects.values_list("artifact", flat=True)) == {
        f"{in_bucket}/{keys(in_bucket)[0]}"
    }


def test_an_interrupted_move_is_continued(
    iris: ModelVersion,
    diabetes: ModelVersion,
    in_bucket: str,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows_in = files.rows_in

    class Broken:
        """Breaks off after the object was put, before its row says so."""

        objects = ModelVersion.objects

        @staticmethod
        def filter(**kwargs: Any) -> Any:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(moving, "ModelVersion", type("M", (), {"objects": Broken}))
        with pytest.raises(KeyboardInterrupt):
            move(model_path, in_bucket)
    assert len(keys(in_bucket)) == 1
    assert rows_in(files.store_at(in_bucket)).count() == 0

    assert "Moved 2 versions" in move(model_path, in_bucket)

    assert len(keys(in_bucket)) == 2


def test_a_damaged_artifact_is_reported_and_stays(
    iris: ModelVersion, diabetes: ModelVersion, in_bucket: str, model_path: Path
) -> None:
    path = model_path / iris.artifact
    path.write_bytes(b"x" * path.stat().st_size)

    with pytest.raises(CommandError, match="1 versions could not be moved"):
        move(model_path, in_bucket)

    assert artifact_of(iris) == iris.artifact
    assert artifact_of(diabetes).startswith(in_bucket)


def test_a_version_deleted_meanwhile_is_no_problem(
    iris: ModelVersion, in_bucket: str, model_path: Path
) -> None:
    ModelVersion.objects.all().delete()

    assert moving.move(iris, files.store_at(in_bucket)) is False


def test_a_row_read_before_the_move_still_finds_its_file(
    iris: ModelVersion, in_bucket: str, model_path: Path
) -> None:
    move(model_path, in_bucket)
    (model_path / iris.artifact).unlink()

    with files.local_file(iris) as path:
        assert path.stat().st_size == iris.size_bytes


def test_without_the_storage_nothing_changes(
    iris: ModelVersion, in_bucket: str, model_path: Path, without_storage: Callable[[], None]
) -> None:
    without_storage()

    with pytest.raises(CommandError, match=r"Cannot use s3://.*Run the command again"):
        move(model_path, in_bucket)

    assert artifact_of(iris) == iris.artifact


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("models", "/elsewhere", "/elsewhere is neither MODEL_PATH"),
        ("models", "s3://", "must be a bucket"),
        ("models", "s3://a/../b", "must be a bucket"),
        ("models", "models", "the same place"),
    ],
)
def test_other_places_are_refused(
    model_path: Path, settings: LazySettings, source: str, target: str, message: str
) -> None:
    places = {"models": str(model_path)}

    with pytest.raises(CommandError, match=message):
        move(places.get(source, source), places.get(target, target))
