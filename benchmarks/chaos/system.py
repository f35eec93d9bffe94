"""What a run of faults needs: a database, disks, bad models and a supervised service."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.chaos.database_proxy import DatabaseProxy
from benchmarks.chaos.disks import MIB, Disk, can_mount
from benchmarks.harness import models, postgresql
from benchmarks.harness.client import Client
from benchmarks.harness.environments import CURRENT, PROJECT
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.processes import Server, free_port
from benchmarks.harness.service import MODELS, CommandFailed, Installation, documented_variables
from benchmarks.traffic.clients import Subject
from benchmarks.traffic.supervision import SupervisedService

DATABASE = "benchmark_chaos"
TABLESPACE = "benchmark_chaos_disk"
DATA_DISK_BYTES = 4096 * MIB
FILES_DISK_BYTES = 256 * MIB
READY_SECONDS = 60
# Short, so that a run can wait for many of them. A service without these settings ignores them.
PREDICTION_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 4
MODEL = "iris"
REMOTE_MODELS = ("hangs", "drips")
BAD_MODELS = (*REMOTE_MODELS, "endless", "poison")


@dataclass(slots=True)
class SystemUnderTest:
    """A running service and what can be done to it.

    `database_url` leads to the database directly; the service reaches PostgreSQL through `proxy`.
    A disk is None where nothing can be mounted, `server` and `proxy` with SQLite.
    """

    folder: Path
    installation: Installation
    service: SupervisedService
    model: TrainedModel
    database_url: str
    server: PostgreSQL | None = None
    proxy: DatabaseProxy | None = None
    data_disk: Disk | None = None
    files_disk: Disk | None = None
    refused_models: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.service.port

    @property
    def health_port(self) -> int:
        """The service's own port for health; that of the workers if the checkout has no other."""
        return self.service.health_port or self.port

    @property
    def models_folder(self) -> Path:
        return Path(self.installation.environment["MODEL_PATH"])

    def client(self, *, timeout: float = 45) -> Client:
        return Client(self.port, self.installation.headers, timeout=timeout)

    def subject(self) -> Subject:
        """The model that steady traffic asks, and the caller."""
        return Subject(
            self.port,
            self.installation.headers,
            self.model_id(MODEL),
            MODEL,
            self.model.rows[0],
        )

    def model_id(self, name: str) -> int:
        with self.client() as client:
            versions = client.get(f"{MODELS}?name={name}&limit=1").json()
        return int(versions[0]["id"])


@contextlib.contextmanager
def system_under_test(
    *,
    database: str,
    checkout: Path = PROJECT,
    workers: int = 2,
    bad_models: Sequence[str] = BAD_MODELS,
) -> Iterator[SystemUnderTest]:
    """A ready system; everything is stopped, unmounted and deleted at the end."""
    model = models.load(MODEL, CURRENT)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="mlapi-chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # The user that PostgreSQL runs as must reach its folder.
        folder.chmod(0o755)
        files_disk = _mount(stack, folder / "files", FILES_DISK_BYTES)
        data_disk = _mount(stack, folder / "data", DATA_DISK_BYTES)
        server, proxy, direct_url, service_url = None, None, "", ""
        if database == "postgresql":
            server, proxy, service_url = _start_database(stack, folder, data_disk is not None)
            direct_url = server.database_url(DATABASE)
        else:
            direct_url = service_url = f"sqlite:///{folder / 'data' / 'db.sqlite3'}"
        origin = _start_stand_in(stack, folder)
        installation = _install(folder, checkout, service_url, origin)
        refused = _register(installation, folder, model, origin, bad_models)
        service = _create_service(installation, workers)
        system = SystemUnderTest(
            folder,
            installation,
            stack.enter_context(service),
            model,
            direct_url,
            server,
            proxy,
            data_disk,
            files_disk,
            refused,
        )
        yield system


def _mount(stack: contextlib.ExitStack, path: Path, size_bytes: int) -> Disk | None:
    path.mkdir()
    if not can_mount():
        return None
    return stack.enter_context(Disk(path, size_bytes=size_bytes))


def _start_database(
    stack: contextlib.ExitStack, folder: Path, has_disk: bool
) -> tuple[PostgreSQL, DatabaseProxy, str]:
    server = stack.enter_context(postgresql.server(embedded=True))
    if has_disk:
        # Only the service's tables: a server whose log of transactions finds no room stops.
        tables = folder / "data" / "tables"
        tables.mkdir()
        server.create_tablespace(TABLESPACE, tables)
        server.recreate(DATABASE, TABLESPACE)
    else:
        server.recreate(DATABASE)
    port = free_port()
    proxy = stack.enter_context(DatabaseProxy(port, server.socket))
    return server, proxy, f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"


def _start_stand_in(stack: contextlib.ExitStack, folder: Path) -> str:
    """The origin of the remote models."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.traffic.stand_in", str(port)]
    server = Server(
        command,
        environment=CURRENT.variables(),
        folder=PROJECT,
        log=folder / "stand_in.log",
    )
    stack.enter_context(server)
    server.wait_until(partial(_is_live, port), seconds=READY_SECONDS)
    return f"http://127.0.0.1:{port}"


def _is_live(port: int) -> bool:
    with Client(port, timeout=5) as client:
        return client.get("/v2").status == 200


def _create_service(installation: Installation, workers: int) -> SupervisedService:
    health_port = None
    if "HEALTH_PORT" in documented_variables(installation.checkout):
        health_port = free_port()
        installation.environment["HEALTH_PORT"] = str(health_port)
    return SupervisedService(
        installation, workers=workers, port=free_port(), health_port=health_port
    )


def _install(folder: Path, checkout: Path, database_url: str, origin: str) -> Installation:
    temporary, registered = folder / "files" / "tmp", folder / "files" / "models"
    temporary.mkdir()
    installation = Installation(
        database_url,
        folder,
        checkout=checkout,
        interpreter=CURRENT,
        settings={
            "MODEL_PATH": str(registered),
            "MODEL_CACHE_SIZE": "10",
            "PREDICTION_TIMEOUT_SECONDS": str(PREDICTION_TIMEOUT_SECONDS),
            "DB_STATEMENT_TIMEOUT": str(STATEMENT_TIMEOUT_SECONDS),
            "REMOTE_ORIGINS": json.dumps([origin]),
            "TMPDIR": str(temporary),
        },
    )
    installation.set_up()
    return installation


def _register(
    installation: Installation,
    folder: Path,
    model: TrainedModel,
    origin: str,
    bad_models: Sequence[str],
) -> dict[str, str]:
    """Register the good model and the bad ones; the reasons of those that are refused, by name."""
    installation.register(model.file("onnx"), name=MODEL)
    bad = folder / "bad"
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.chaos.bad_models", str(bad)],
        cwd=PROJECT,
        env=CURRENT.variables(),
        check=True,
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
    )
    for name in REMOTE_MODELS:
        (bad / f"{name}.json").write_text(json.dumps({"url": origin, "model": name}))
    refused = {}
    for file in sorted(bad.iterdir()):
        if file.stem not in bad_models:
            continue
        try:
            installation.register(file, name=file.stem)
        except CommandFailed as error:
            refused[file.stem] = str(error)
    return refused
