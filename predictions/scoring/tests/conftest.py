"""One Dask cluster for all tests."""

from collections.abc import Iterator

import pytest

from predictions.scoring.tests.clusters import Cluster


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.stop()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """It takes seconds to start, so that tests share it; what one has killed is started again."""
    _cluster.revive()
    return _cluster
