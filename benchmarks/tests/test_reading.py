"""What is read from others: stacks, logs, plans, addresses."""

import pytest

from benchmarks.depth.plans import is_bounded, statements
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.profiling import folded, part_of

SITE = "/venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("frame", "part"),
    [
        (f"execute ({SITE}/psycopg/cursor.py:97)", "database"),
        (f"execute ({SITE}/django/db/backends/utils.py:8)", "database"),
        (f"get_response ({SITE}/django/core/handlers/base.py:1)", "Django and middleware"),
        (f"dispatch ({SITE}/rest_framework/views.py:1)", "REST framework"),
        ("parse (/src/mlapi/parsers.py:10)", "JSON"),
        ("score (/src/predictions/inference.py:3)", "inference"),
        ("predict (/src/predictions/services.py:3)", "the service's own"),
        ("main (/somewhere/else.py:1)", "the rest"),
    ],
)
def test_stack_belongs_to_its_innermost_telling_frame(frame: str, part: str) -> None:
    outer = f"_runner ({SITE}/granian/wsgi.py:1)" if part != "the rest" else frame
    inner = "acquire (/usr/lib/python3.11/threading.py:5)"

    assert part_of(f"{outer};{frame};{inner}") == part


def test_folded_stacks_are_counted() -> None:
    assert folded(["a (x.py:1);b (y.py:2) 7", "a (x.py:1);b (y.py:2) 3", ""]) == {
        "a (x.py:1);b (y.py:2)": 10
    }


def test_statements_are_read_from_the_log_with_their_parameters() -> None:
    log = (
        "2026-01-01 10:00:00.000 UTC [7] LOG:  statement: SELECT 1\n"
        '\tFROM "predictions"\n'
        "2026-01-01 10:00:00.001 UTC [7] LOG:  execute <unnamed>: SELECT $1, $2\n"
        "2026-01-01 10:00:00.001 UTC [7] DETAIL:  Parameters: $1 = 'it''s', $2 = NULL\n"
        "2026-01-01 10:00:00.002 UTC [7] LOG:  checkpoint starting: time"
    )

    assert list(statements(log)) == ['SELECT 1\n\tFROM "predictions"', "SELECT 'it''s', NULL"]


@pytest.mark.parametrize(
    ("nodes", "verdict"),
    [
        (["Limit", "Index Scan prediction_newest", "Seq Scan model_versions (100.0%)"], True),
        (["Limit", "Sort (39 rows)", "Index Scan prediction_failed_newest"], True),
        (["Limit", "Sort (200000 rows)", "Index Scan prediction_newest"], False),
        (["Aggregate", "Limit", "Seq Scan predictions (0.1%)"], True),
        (["Limit", "Seq Scan predictions (100.0%)"], False),
        (["Limit", "Bitmap Heap Scan predictions"], False),
    ],
)
def test_plan_is_bounded_where_nothing_grows_with_the_table(
    nodes: list[str], verdict: bool
) -> None:
    assert is_bounded(nodes) is verdict


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        (
            "postgresql://postgres:@/postgres?host=/tmp/x",
            "postgresql+asyncpg://postgres:@/b?host=/tmp/x",
        ),
        ("postgresql://u:p@h:5432/db", "postgresql+asyncpg://u:p@h:5432/b"),
    ],
)
def test_address_of_another_database(url: str, moved: str) -> None:
    assert PostgreSQL(url).database_url("b", "asyncpg") == moved
