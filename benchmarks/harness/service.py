"""Drives mlapi from outside: its command line, then its HTTP API."""

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.client import Client
from benchmarks.harness.environments import MLAPI, PROJECT
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server, free_port

COMMAND_TIMEOUT_SECONDS = 300
READY_SECONDS = 60
USERNAME = "benchmark"
PASSWORD = "only-for-benchmarks-on-loopback"  # noqa: S105
SECRET_KEY = "a key for benchmarks alone, and long enough for every algorithm"  # noqa: S105
PREDICTIONS = "/api/v1/predictions/"
BATCH = "/api/v1/predictions/batch/"
MODELS = "/api/v1/models/"


class CommandFailed(Exception):
    """A management command failed; the message holds its output."""


class Service:
    """An installation of its own: a database, a folder of models, one user."""

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.folder, self.database_url = folder, database_url
        folder.mkdir(parents=True, exist_ok=True)
        MLAPI.build()
        self.environment = {
            **MLAPI.variables(),
            # Set, even to nothing, a variable wins over a developer's .env file.
            **dict.fromkeys(_documented_variables(), ""),
            "DATABASE_URL": database_url,
            "MODEL_PATH": str(folder / "models"),
            "SECRET_KEY": SECRET_KEY,
            "LOG_LEVEL": "WARNING",
            "ACCESS_TOKEN_EXPIRE_MINUTES": "100000",
            **settings,
        }
        self.environment.pop("DJANGO_SETTINGS_MODULE", None)
        self.token = ""

    def manage(self, *arguments: str, **more: str) -> str:
        """What `manage.py` prints; raises CommandFailed."""
        done = subprocess.run(  # noqa: S603
            [MLAPI.python, str(PROJECT / "manage.py"), *arguments],
            cwd=PROJECT,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
        )
        if done.returncode:
            raise CommandFailed(f"manage.py {arguments[0]}: {done.stdout}{done.stderr}"[-2000:])
        return done.stdout

    def install(self) -> None:
        """Make the tables, and the user if there is none yet."""
        self.manage("migrate", "--verbosity", "0")
        try:
            self.manage(
                *("createsuperuser", "--noinput", "--username", USERNAME, "--email", ""),
                DJANGO_SUPERUSER_PASSWORD=PASSWORD,
            )
        except CommandFailed as error:
            if "already taken" not in str(error):
                raise

    def register(self, file: Path, *, name: str, version: str = "1") -> None:
        self.manage("register_model", str(file), "--name", name, "--version", version)

    def server(
        self, *, workers: int = 1, port: int | None = None, pin: bool = False
    ) -> "RunningService":
        """A server of this installation, to be used in a `with` block."""
        port = port or free_port()
        command = [MLAPI.python, str(PROJECT / "manage.py"), "serve"]
        command += ["--port", str(port), "--workers", str(workers)]
        log = self.folder / "server.log"
        command += ["--pin"] if pin else []
        server = Server(command, environment=self.environment, folder=PROJECT, log=log)
        return RunningService(self, server, port)

    def log_in(self, port: int) -> str:
        """An access token; asked for once, since it outlives the server's restarts."""
        if not self.token:
            credentials = {"username": USERNAME, "password": PASSWORD}
            answer = Client(port).post("/api/v1/auth/token/", credentials)
            self.token = answer.json()["access"]
        return self.token


class RunningService:
    """A started server of an installation, ready when its `with` block begins."""

    def __init__(self, service: Service, server: Server, port: int) -> None:
        self.service, self.server, self.port = service, server, port

    def __enter__(self) -> "RunningService":
        self.server.__enter__()
        try:
            self.server.wait_until(self.is_ready, seconds=READY_SECONDS)
            self.service.log_in(self.port)
        except BaseException:
            self.server.stop()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.stop()

    def is_ready(self) -> bool:
        return Client(self.port, timeout=5).get("/health/ready").status == 200

    def client(self, **options: Any) -> Client:
        headers = {"Authorization": f"Bearer {self.service.token}"}
        return Client(self.port, headers, **options)

    def model_id(self, name: str) -> int:
        """The id of the newest version of this name."""
        found = self.client().get(f"{MODELS}?name={name}&limit=1").json()
        return int(found[0]["id"])


@contextlib.contextmanager
def temporary(database_url: str, model: TrainedModel, **settings: str) -> Iterator[Service]:
    """An installation with one registered model, served as ONNX; its folder ends with the block.

    A database_url of `sqlite` is a file in that folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="mlapi-benchmark-"))
    url = f"sqlite:///{folder / 'db.sqlite3'}" if database_url == "sqlite" else database_url
    try:
        service = Service(url, folder, **settings)
        service.install()
        service.register(model.file("onnx"), name=model.name)
        yield service
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prediction_request(model_id: int, row: Any) -> dict[str, Any]:
    return {"model_id": model_id, "input_data": {"features": list(row)}}


def _documented_variables() -> list[str]:
    text = (PROJECT / ".env.example").read_text()
    return re.findall(r"^# ([A-Z_]+)=", text, flags=re.MULTILINE)
