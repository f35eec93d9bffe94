"""The plans of the list queries, read from a separate server: logging statements costs time."""

import psycopg

from benchmarks.depth.plans import QueryLog, is_bounded, log_statements, nodes
from benchmarks.depth.requests import admin_lists, api_lists
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.service import Installation


def plan_rows(database: PostgreSQL, installation: Installation, name: str) -> list[list[str]]:
    """A row for each query of each list: the request, whether the plan is bounded, the plan.

    Empty if the server's log cannot be read.
    """
    log = database.log
    if log is None:
        return []
    log_statements(database.url, name)
    rows = []
    with (
        installation.server() as running,
        psycopg.connect(installation.database_url) as connection,
    ):
        for request in [*api_lists(running), *admin_lists(running)]:
            queries = QueryLog(log)
            request.send()
            for query in queries.selects():
                plan = nodes(connection, query)
                verdict = "yes" if is_bounded(plan) else "NO"
                rows.append([request.name, verdict, " > ".join(plan)])
                connection.rollback()
    return rows
