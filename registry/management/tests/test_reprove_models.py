"""Versions that an earlier release registered are proved again."""

import pytest
from django.core.management import CommandError, call_command

from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

pytestmark = pytest.mark.usefixtures("in_process_sandbox")


def forget_batching(version: ModelVersion, **changes: object) -> ModelVersion:
    """Store the signature as an earlier release did."""
    signature = {key: value for key, value in version.signature.items() if key != "batching"}
    ModelVersion.objects.filter(pk=version.pk).update(signature=signature | changes)
    version.refresh_from_db()
    return version


def test_a_version_that_was_never_examined_is_proved(
    mixed: ModelVersion, iris: ModelVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    before = mixed.signature
    forget_batching(mixed)

    call_command("reprove_models")

    mixed.refresh_from_db()
    assert mixed.signature == before
    assert mixed.signature["batching"] == "joined"
    assert capsys.readouterr().out == "mixed:1: joined\n"


def test_a_version_that_was_declared_to_score_one_row_a_call_keeps_doing_so(
    iris: ModelVersion,
) -> None:
    forget_batching(iris, batching="single")

    call_command("reprove_models", "iris:1")

    iris.refresh_from_db()
    assert iris.signature["batching"] == "single"


def test_a_dry_run_stores_nothing(iris: ModelVersion) -> None:
    forget_batching(iris)

    call_command("reprove_models", "iris:1", dry_run=True)

    iris.refresh_from_db()
    assert "batching" not in iris.signature


def test_nothing_to_do_is_reported(iris: ModelVersion, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("reprove_models")

    assert "Every active version has been examined" in capsys.readouterr().out


def test_a_signature_that_would_change_is_reported_and_stays(
    iris: ModelVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [{**iris.signature["outputs"][0], "kind": "value", "classes": []}]
    forget_batching(iris, outputs=outputs)

    with pytest.raises(CommandError, match="1 of 1 versions"):
        call_command("reprove_models")

    assert "register it again" in capsys.readouterr().err
    iris.refresh_from_db()
    assert iris.signature["outputs"] == outputs


def test_an_unknown_version_is_an_error(iris: ModelVersion, iris_artifact: Artifact) -> None:
    with pytest.raises(CommandError, match="not found"):
        call_command("reprove_models", "iris:9")


def test_a_version_without_a_file_is_an_error(make_version: MakeVersion) -> None:
    make_version("empty")

    with pytest.raises(CommandError, match="no artifact"):
        call_command("reprove_models", "empty:1")
