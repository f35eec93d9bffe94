import pytest

from benchmarks.harness.postgresql import PostgreSQL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://postgres:@/postgres?host=/tmp/x",
            "postgresql+asyncpg://postgres:@/b?host=/tmp/x",
        ),
        ("postgresql://u:p@h:5432/db", "postgresql+asyncpg://u:p@h:5432/b"),
    ],
)
def test_address_of_another_database(url: str, expected: str) -> None:
    assert PostgreSQL(url).database_url("b", "asyncpg") == expected
