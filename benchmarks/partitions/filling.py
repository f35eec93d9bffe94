"""Fills logs with the same small rows: one in a plain table, the other in partitions."""

from typing import LiteralString

import psycopg
from psycopg import sql

from benchmarks.depth import filling
from benchmarks.harness.service import Installation

PARTITIONS = 60
DAYS = 365
DAYS_OF_MONTH = 30

# Times rise with the ids. One row in ten has a reference of its own, another one in ten a subject,
# which has a hundred rows.
INSERT: LiteralString = """
INSERT INTO predictions (model_id, input_data, prediction, status, error, request_id, user_id,
                         reference, subject, created_at)
SELECT %(version)s, '{"features":[5.1,3.5,1.4,0.2]}', n %% 3, 'succeeded', '', '', %(user)s,
       CASE WHEN n %% 10 = 0 THEN 'r' || n END,
       CASE WHEN n %% 10 = 1 THEN 's' || n / 1000 END,
       now() - %(days)s * interval '1 day' * (1 - n::float8 / %(rows)s)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


def rows_per_partition(rows: int) -> int:
    return max(-(-rows // PARTITIONS), 1000)


def create_partitions(installation: Installation, rows: int) -> None:
    """Turn the empty log into partitions that hold this number of rows, and some ahead."""
    width = rows_per_partition(rows)
    installation.manage("partitions", "--convert", "--rows-per-partition", str(width))
    with psycopg.connect(installation.database_url, autocommit=True) as connection:
        for first in range(3 * width, (PARTITIONS + 3) * width, width):
            create = "CREATE TABLE {} PARTITION OF predictions FOR VALUES FROM ({}) TO ({})"
            name = sql.Identifier(f"predictions_from_{first}")
            connection.execute(
                sql.SQL(create).format(name, sql.Literal(first), sql.Literal(first + width))
            )


def fill(installation: Installation, version: int, rows: int) -> None:
    with psycopg.connect(installation.database_url) as connection:
        user = connection.execute("SELECT min(id) FROM auth_user").fetchone()
    assert user is not None
    values = {"version": version, "user": user[0], "rows": rows, "days": DAYS}
    filling.fill_by(installation.database_url, INSERT, values, rows=rows)
