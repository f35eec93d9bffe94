"""Reads the service's queries from PostgreSQL's log and explains them."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

LOG_SECONDS = 0.3
# Bounds for a sequential scan that stops at a limit, and for a sort of the rows of one page.
MAX_SCANNED_PERCENT = 10
MAX_SORTED_ROWS = 1000
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)", re.DOTALL)
PARAMETER = re.compile(r"(\$\d+) = ('(?:[^']|'')*'|NULL)")


class QueryLog:
    """The queries on the table of predictions that are logged from now on.

    The server must log all statements of the database (see `log_statements`).
    """

    def __init__(self, log: Path) -> None:
        self._log, self._offset = log, log.stat().st_size

    def selects(self) -> list[str]:
        time.sleep(LOG_SECONDS)
        with self._log.open("rb") as file:
            file.seek(self._offset)
            text = file.read().decode(errors="replace")
        return [query for query in statements(text) if 'FROM "predictions"' in query]


def statements(log: str) -> Iterator[str]:
    """The statements of a log, with their parameters filled in."""
    # An entry begins with a time; its continuation lines begin with a tab.
    entries = re.split(r"\n(?=\d{4}-\d\d-\d\d )", log)
    for entry, following in zip(entries, [*entries[1:], ""], strict=True):
        if match := STATEMENT.search(entry):
            query = match[1].strip()
            if "DETAIL:  Parameters:" in following or "DETAIL:  parameters:" in following:
                values = dict(PARAMETER.findall(following))
                query = re.sub(r"\$\d+", lambda mark, v=values: v.get(mark[0], mark[0]), query)
            yield query


def log_statements(url: str, database: str) -> None:
    """Make the server log every statement of new connections."""
    with psycopg.connect(url, autocommit=True) as connection:
        alter = sql.SQL("ALTER DATABASE {} SET log_statement = 'all'")
        connection.execute(alter.format(sql.Identifier(database)))


def nodes(connection: psycopg.Connection[TupleRow], query: str) -> list[str]:
    """The plan's nodes from the top, each with the index or table that it reads.

    A sort shows the estimated number of rows, and a sequential scan the estimated share of the
    table that it reads before the limit above it is reached.
    """
    explained = connection.execute(b"EXPLAIN (FORMAT JSON) " + query.encode()).fetchone()
    assert explained is not None
    plan = explained[0] if isinstance(explained[0], list) else json.loads(explained[0])
    return list(_nodes(plan[0]["Plan"], 1.0))


def _nodes(plan: dict[str, Any], share: float) -> Iterator[str]:
    name: str = plan["Node Type"]
    parts = plan.get("Plans", [])
    reads = plan.get("Index Name") or plan.get("Relation Name")
    if name == "Limit" and parts[0]["Total Cost"]:
        share *= min(plan["Total Cost"] / parts[0]["Total Cost"], 1)
    elif name == "Sort":
        name = f"Sort ({parts[0]['Plan Rows']} rows)"
    elif name == "Seq Scan":
        reads = f"{reads} ({share:.1%})"
    yield name + (f" {reads}" if reads else "")
    for part in parts:
        yield from _nodes(part, share)


def is_bounded(names: list[str]) -> bool:
    """Whether the cost does not grow with the table: no full scan, no bitmap, no large sort."""
    for name in names:
        if match := re.match(r"Seq Scan predictions \(([\d.]+)%\)", name):
            if float(match[1]) > MAX_SCANNED_PERCENT:
                return False
        elif match := re.match(r"Sort \((\d+) rows\)", name):
            if int(match[1]) > MAX_SORTED_ROWS:
                return False
        elif name.startswith("Bitmap"):
            return False
    return True
