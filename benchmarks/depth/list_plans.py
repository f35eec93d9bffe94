"""The plans of the list queries, of a server started for nothing else: logging costs time."""

import psycopg

from benchmarks.depth.pages import api_pages, other_requests
from benchmarks.depth.plans import QueryLog, is_bounded, log_statements, nodes
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.service import Service


def plan_rows(database: PostgreSQL, installed: Service, name: str) -> list[list[str]]:
    """A row for each query of each list: its name, whether it is bounded, and the plan.

    Nothing where the server's log can not be read.
    """
    log = database.log
    if log is None:
        return []
    log_statements(database.url, name)
    rows = []
    with (
        installed.server() as running,
        psycopg.connect(installed.database_url) as connection,
    ):
        lists = [page for page in other_requests(running, "large") if page.name.startswith("admin")]
        for page in [*api_pages(running), *lists]:
            queries = QueryLog(log)
            page.send()
            for query in queries.selects():
                plan = nodes(connection, query)
                rows.append(
                    [
                        page.name.removesuffix(", large"),
                        "yes" if is_bounded(plan) else "NO",
                        " > ".join(plan),
                    ]
                )
                connection.rollback()
    return rows
