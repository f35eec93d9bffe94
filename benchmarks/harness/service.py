"""Drives mlapi from outside: through its command line, then its HTTP API."""

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.client import TIMEOUT_SECONDS, Client
from benchmarks.harness.environments import MLAPI, PROJECT, Interpreter
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server, free_port

COMMAND_TIMEOUT_SECONDS = 300
READY_SECONDS = 120
USERNAME = "benchmark"
PASSWORD = "only-for-benchmarks-on-loopback"  # noqa: S105
SECRET_KEY = "a key for benchmarks alone, and long enough for every algorithm"  # noqa: S105
PREDICTIONS = "/api/v1/predictions/"
BATCH = "/api/v1/predictions/batch/"
MODELS = "/api/v1/models/"

Row = Sequence[float]


class CommandFailed(Exception):
    """A management command failed; the message holds its output."""


class Installation:
    """A database, a folder of models and one user, served from `checkout`."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        checkout: Path = PROJECT,
        settings: Mapping[str, str] | None = None,
        interpreter: Interpreter = MLAPI,
    ) -> None:
        self.folder, self.database_url, self.checkout = folder, database_url, checkout
        self.interpreter = interpreter
        folder.mkdir(parents=True, exist_ok=True)
        interpreter.build()
        self.environment = {
            **interpreter.variables(),
            # The environment has this project installed; another checkout must win over it.
            "PYTHONPATH": str(checkout),
            # A variable that is set, even to nothing, wins over a developer's .env file.
            **dict.fromkeys(documented_variables(checkout), ""),
            "DATABASE_URL": database_url,
            "MODEL_PATH": str(folder / "models"),
            "SECRET_KEY": SECRET_KEY,
            "LOG_LEVEL": "WARNING",
            "ACCESS_TOKEN_EXPIRE_MINUTES": "100000",
            **(settings or {}),
        }
        self.environment.pop("DJANGO_SETTINGS_MODULE", None)
        self.token = ""

    def manage(self, *arguments: str, **variables: str) -> str:
        """The output of `manage.py`; raises CommandFailed."""
        return self.python(str(self.checkout / "manage.py"), *arguments, **variables)

    def python(self, script: str, *arguments: str, **variables: str) -> str:
        """The output of a script, run with the installation's settings; raises CommandFailed."""
        completed = subprocess.run(  # noqa: S603
            [self.interpreter.python, script, *arguments],
            cwd=self.checkout,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        if completed.returncode:
            command = " ".join([Path(script).name, *arguments[:1]])
            output = f"{completed.stdout}{completed.stderr}"
            raise CommandFailed(f"{command}: {output[-2000:]}")
        return completed.stdout

    def set_up(self) -> None:
        """Apply the migrations and create the user, if they are missing."""
        self.manage("migrate", "--verbosity", "0")
        try:
            self.manage(
                *("createsuperuser", "--noinput", "--username", USERNAME, "--email", ""),
                DJANGO_SUPERUSER_PASSWORD=PASSWORD,
            )
        except CommandFailed as error:
            if "already taken" not in str(error):
                raise

    def register(
        self, file: Path, *, name: str, version: str = "1", signature: str | None = None
    ) -> None:
        options = [] if signature is None else ["--signature", signature]
        self.manage("register_model", str(file), "--name", name, "--version", version, *options)

    def server(
        self,
        *,
        workers: int = 1,
        port: int | None = None,
        pin: bool = False,
        prefix: Sequence[str] = (),
    ) -> "RunningService":
        """A server of this installation, to be used in a `with` block.

        `prefix` is a program that replaces itself by the server, such as prlimit with a limit.
        """
        port = port or free_port()
        command = [*prefix, self.interpreter.python, str(self.checkout / "manage.py"), "serve"]
        command += ["--port", str(port), "--workers", str(workers)]
        command += ["--pin"] if pin else []
        log = self.folder / "server.log"
        server = Server(command, environment=self.environment, folder=self.checkout, log=log)
        return RunningService(self, server, port)

    def log_in(self, port: int) -> str:
        """An access token, requested once: it remains valid when the server restarts."""
        if not self.token:
            credentials = {"username": USERNAME, "password": PASSWORD}
            with Client(port) as client:
                response = client.post("/api/v1/auth/token/", credentials)
            self.token = response.json()["access"]
        return self.token

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class RunningService:
    """A server of an installation, ready when its `with` block begins."""

    def __init__(self, installation: Installation, server: Server, port: int) -> None:
        self.installation, self.server, self.port = installation, server, port

    def __enter__(self) -> "RunningService":
        self.server.__enter__()
        try:
            self.server.wait_until(self.is_ready, seconds=READY_SECONDS)
            self.installation.log_in(self.port)
        except BaseException:
            self.server.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def is_ready(self) -> bool:
        with Client(self.port, timeout=5) as client:
            return client.get("/health/ready").status == 200

    def client(self, *, timeout: float = TIMEOUT_SECONDS) -> Client:
        return Client(self.port, self.installation.headers, timeout=timeout)

    def model_id(self, name: str) -> int:
        """The id of the newest version of a model."""
        with self.client() as client:
            versions = client.get(f"{MODELS}?name={name}&limit=1").json()
        return int(versions[0]["id"])


@contextlib.contextmanager
def temporary(database_url: str, model: TrainedModel, **settings: str) -> Iterator[Installation]:
    """An installation with one registered ONNX model; its folder is deleted at the end.

    The database_url `sqlite` stands for a file in that folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="mlapi-benchmark-"))
    url = f"sqlite:///{folder / 'db.sqlite3'}" if database_url == "sqlite" else database_url
    try:
        installation = Installation(url, folder, settings=settings)
        installation.set_up()
        installation.register(model.file("onnx"), name=model.name)
        yield installation
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prediction_request(model_id: int, row: Row) -> dict[str, object]:
    return {"model_id": model_id, "input_data": {"features": list(row)}}


def batch_request(model_id: int, rows: Sequence[Row]) -> dict[str, object]:
    return {"model_id": model_id, "inputs": [{"features": list(row)} for row in rows]}


def infer_request(row: Row) -> dict[str, object]:
    """A row as an inference request of the Open Inference Protocol."""
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}
    return {"inputs": [tensor]}


def documented_variables(checkout: Path) -> list[str]:
    """The settings that a checkout of mlapi knows."""
    text = (checkout / ".env.example").read_text()
    return re.findall(r"^# ([A-Z_]+)=", text, flags=re.MULTILINE)
