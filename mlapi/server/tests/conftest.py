import pytest

from registry.testing.processes import manage


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database that other processes see: no transaction of a test hides its rows."""
    url = f"sqlite:///{tmp_path_factory.mktemp('serve') / 'db.sqlite3'}"
    assert manage("migrate", "-v0", DATABASE_URL=url).returncode == 0
    return url
