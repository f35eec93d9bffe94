"""Guarantees of the registry's workflows that no single request shows."""

from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from registry import services
from registry.artifacts import proof
from registry.artifacts.errors import ArtifactRejected
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact

LIGHTGBM_FILE = b"tree\nversion=v4\n\nend of trees\n\nend of parameters\n"


def test_a_name_taken_in_the_meantime_is_a_conflict_inside_a_transaction_too(
    iris: ModelVersion,
) -> None:
    # Another registration commits between the check and the insert.
    row = ModelVersion(name=iris.name, version=iris.version, framework="sklearn")

    with transaction.atomic():
        with pytest.raises(services.VersionExists, match="Model iris:1 already exists"):
            services._insert(row)
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
    in_transaction = []

    def prove(path: Path, **arguments: object) -> None:
        in_transaction.append(connection.in_atomic_block)
        raise ArtifactRejected("no")

    monkeypatch.setattr(proof, "prove", prove)

    with pytest.raises(ArtifactRejected):
        services.register_model(name="a", version="1", upload=services.Upload([LIGHTGBM_FILE]))

    assert in_transaction == [False]


def test_a_row_with_its_artifact_is_written_by_one_statement(
    iris_artifact: Artifact, model_path: Path, cached_proofs: None, db: None
) -> None:
    with CaptureQueriesContext(connection) as captured:
        services.register_model(name="iris", upload=services.Upload([iris_artifact.content]))

    writes = [
        query["sql"]
        for query in captured
        if query["sql"].startswith(("INSERT", "UPDATE")) and '"model_versions"' in query["sql"]
    ]
    assert len(writes) == 1
