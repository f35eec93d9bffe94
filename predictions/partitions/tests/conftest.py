"""Logs for the tests of partitions."""

import pytest

from predictions.partitions import conversion
from predictions.testing.partitions import ROWS
from predictions.testing.partitions import own_database as own_database
from predictions.testing.rows import make_version
from registry.models import ModelVersion


@pytest.fixture
def version(own_database: None) -> ModelVersion:
    return make_version(None)


@pytest.fixture
def partitioned(version: ModelVersion) -> ModelVersion:
    """The version of a log whose partitions have ROWS ids each; the first one ends at ROWS."""
    assert conversion.convert(ROWS)
    return version
