"""Three replicas with folders of their own, on one database and one object storage."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import models, postgresql
from benchmarks.harness.client import Client
from benchmarks.harness.environments import CURRENT
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.object_storage import BUCKET, ObjectStorage, object_storage
from benchmarks.harness.postgresql import PostgreSQL
from benchmarks.harness.processes import free_port
from benchmarks.harness.service import MODELS, Installation
from benchmarks.replicas import network
from benchmarks.replicas.network import Address
from benchmarks.traffic.clients import Subject
from benchmarks.traffic.supervision import SupervisedService

DATABASE = "benchmark_replicas"
MODEL = "iris"
VERSIONS = ("1", "2")
STRANGER = "stranger"
STRANGERS_PASSWORD = "another-one-only-for-benchmarks"  # noqa: S105
PREDICTION_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 4

_MAKE_STRANGER = f"""
from django.contrib.auth.models import User
User.objects.create_user({STRANGER!r}, password={STRANGERS_PASSWORD!r})
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """`port` is the balancer's; `database_url` leads to PostgreSQL directly."""

    port: int
    replicas: Sequence[SupervisedService]
    database: PostgreSQL
    database_url: str
    store: ObjectStorage
    model: TrainedModel
    headers: dict[str, str]

    def client(self, headers: dict[str, str] | None = None, *, timeout: float = 45) -> Client:
        """Of the balancer; the administrator's by default."""
        return Client(self.port, headers or self.headers, timeout=timeout)

    def version_ids(self) -> list[int]:
        """The ids of the model's versions, the first one first."""
        with self.client() as client:
            found = client.get(f"{MODELS}?name={MODEL}&limit=10").json()
        return sorted(version["id"] for version in found)

    def subject(self) -> Subject:
        row = self.model.rows[0]
        return Subject(self.port, self.headers, self.version_ids()[0], MODEL, row)


@contextlib.contextmanager
def cluster(*, n_replicas: int, workers: int, haproxy: str, pgbouncer: str) -> Iterator[Cluster]:
    """A ready cluster; everything is stopped and deleted at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="mlapi-replicas-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = stack.enter_context(postgresql.server(embedded=True))
        database.recreate(DATABASE)
        pooler_port = stack.enter_context(network.pooler(pgbouncer, database))
        (folder / "store").mkdir()
        store = stack.enter_context(object_storage(folder / "store"))
        url = f"postgresql://postgres@127.0.0.1:{pooler_port}/{DATABASE}"
        model = models.load(MODEL, CURRENT)
        addresses = [Address(free_port(), free_port()) for _ in range(n_replicas)]
        installations = [
            _installation(folder / f"replica{number}", url, store, address)
            for number, address in enumerate(addresses, 1)
        ]
        _set_up(installations[0], model)
        replicas = [
            stack.enter_context(
                SupervisedService(
                    installation,
                    workers=workers,
                    port=address.port,
                    health_port=address.health_port,
                )
            )
            for installation, address in zip(installations, addresses, strict=True)
        ]
        port = stack.enter_context(network.balancer(haproxy, addresses))
        yield Cluster(
            port,
            replicas,
            database,
            database.database_url(DATABASE),
            store,
            model,
            installations[0].headers,
        )


def _installation(
    folder: Path, database_url: str, store: ObjectStorage, address: Address
) -> Installation:
    return Installation(
        database_url,
        folder,
        interpreter=CURRENT,
        settings={
            **store.variables,
            "DB_POOLER": "pgbouncer",
            "MODEL_STORAGE": f"s3://{BUCKET}/replicas",
            "HEALTH_PORT": str(address.health_port),
            "PREDICTION_TIMEOUT_SECONDS": str(PREDICTION_TIMEOUT_SECONDS),
            "DB_STATEMENT_TIMEOUT": str(STATEMENT_TIMEOUT_SECONDS),
        },
    )


def _set_up(installation: Installation, model: TrainedModel) -> None:
    installation.set_up()
    for version in VERSIONS:
        installation.register(model.file("onnx"), name=MODEL, version=version)
    installation.manage("shell", "-c", _MAKE_STRANGER)
