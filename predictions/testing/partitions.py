"""What the tests of partitions share: a database of its own for each, and small partitions."""

from collections.abc import Iterator

import pytest
from django.db import connection

from predictions.models import Prediction
from predictions.partitions.locking import execute
from predictions.testing.rows import create_predictions
from registry.models import ModelVersion

NAME = "test_partitions"
# So small that a test fills several partitions.
ROWS = 100


def _close() -> None:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


@pytest.fixture
def own_database(transactional_db: None) -> Iterator[None]:
    """A copy of the test database, in which the test may change the tables."""
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has partitions")
    _close()
    template = connection.settings_dict["NAME"]
    _recreate(template)
    connection.settings_dict["NAME"] = NAME
    try:
        # Rows of earlier tests are gone, but their ids were given out.
        execute("SELECT setval('predictions_id_seq', 1, false)")
        yield
    finally:
        _close()
        connection.settings_dict["NAME"] = template
        _recreate(None)


def _recreate(template: str | None) -> None:
    """Replace the copy by another one; without a template, by none."""
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        if template is not None:
            cursor.execute(f'CREATE DATABASE {NAME} TEMPLATE "{template}"')


def record(version: ModelVersion, count: int = 1, **fields: object) -> list[Prediction]:
    return create_predictions(version, [1.0] * count, **fields)
