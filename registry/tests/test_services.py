"""Workflows over versions that no single request shows."""

from pathlib import Path

import pytest
from django.db import connection, transaction

from registry import services
from registry.artifacts import proof, store
from registry.models import ModelVersion


def test_a_name_that_is_taken_meanwhile_is_a_conflict_inside_a_transaction_too(
    iris: ModelVersion,
) -> None:
    # As when another registration commits between the look and the insert.
    row = ModelVersion(name=iris.name, version=iris.version, framework="sklearn")

    with transaction.atomic():
        with pytest.raises(services.VersionExists, match="Model iris:1 already exists"):
            services._create(row)
        assert ModelVersion.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_file_of_a_version_stays_while_its_deletion_can_be_rolled_back(
    iris: ModelVersion, model_path: Path
) -> None:
    with transaction.atomic():
        services.delete_version(model_id=iris.pk)
        assert (model_path / iris.artifact).exists()
        transaction.set_rollback(True)

    assert ModelVersion.objects.get() == iris
    assert (model_path / iris.artifact).exists()


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_an_artifact_is_proved(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def prove(path: Path, **given: object) -> None:
        seen.append(connection.in_atomic_block)
        raise store.ArtifactRejected("no")

    monkeypatch.setattr(proof, "prove", prove)
    upload = services.Upload([b"tree\nversion=v4\n\nend of trees\n\nend of parameters\n"])

    with pytest.raises(store.ArtifactRejected):
        services.register_model(name="a", version="1", upload=upload)

    assert seen == [False]
