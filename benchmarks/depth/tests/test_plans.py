import pytest

from benchmarks.depth.plans import is_bounded, statements


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
    ("nodes", "expected"),
    [
        (["Limit", "Index Scan prediction_newest", "Seq Scan model_versions (100.0%)"], True),
        (["Limit", "Sort (39 rows)", "Index Scan prediction_failed_newest"], True),
        (["Limit", "Sort (200000 rows)", "Index Scan prediction_newest"], False),
        (["Aggregate", "Limit", "Seq Scan predictions (0.1%)"], True),
        (["Limit", "Seq Scan predictions (100.0%)"], False),
        (["Limit", "Bitmap Heap Scan predictions"], False),
    ],
)
def test_plan_is_bounded_if_its_cost_does_not_grow_with_the_table(
    nodes: list[str], expected: bool
) -> None:
    assert is_bounded(nodes) is expected
