"""The peers that record each prediction in a database: mlapi, and the guide's stack."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.harness import environments, records
from benchmarks.harness.client import Client
from benchmarks.harness.environments import PROJECT
from benchmarks.harness.load import Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server, free_port
from benchmarks.harness.service import (
    PREDICTIONS,
    READY_SECONDS,
    Installation,
    infer_request,
    prediction_request,
)
from benchmarks.peers.base import IRIS, Launch, Peer, Workspace


@dataclass(frozen=True, slots=True)
class Variant:
    """How mlapi is served: from which artifact, on which database, through which endpoint."""

    suffix: str = "onnx"
    on_sqlite: bool = False
    pin: bool = False
    v2: bool = False

    def folder_name(self, model: TrainedModel) -> str:
        database = "sqlite" if self.on_sqlite else "postgresql"
        options = ("_pinned" if self.pin else "") + ("_v2" if self.v2 else "")
        return f"mlapi_{model.name}_{self.suffix}_{database}{options}"


def prepare_mlapi(
    model: TrainedModel, workspace: Workspace, *, variant: Variant
) -> Callable[[], Launch]:
    name = variant.folder_name(model)
    folder = workspace.subfolder(name)
    if variant.on_sqlite:
        url = f"sqlite:///{folder / 'db.sqlite3'}"
    else:
        database = f"benchmark_{name}"
        workspace.postgresql.recreate(database)
        url = workspace.postgresql.database_url(database)
    installation = Installation(url, folder)
    installation.set_up()
    installation.register(model.file(variant.suffix), name=model.name)
    # Started once for the token and the model's id: the measured starts need no extra requests.
    with installation.server() as running:
        model_id = running.model_id(model.name)
    if variant.v2:
        # The same requests as MLServer's.
        path, status = f"/v2/models/{model.name}/infer", 200
        bodies = [json.dumps(infer_request(row)) for row in model.rows]
    else:
        path, status = PREDICTIONS, 201
        bodies = [json.dumps(prediction_request(model_id, row)) for row in model.rows]
    count_recorded = partial(records.count, url)

    def launch() -> Launch:
        running = installation.server(pin=variant.pin)
        target = Target(f"http://127.0.0.1:{running.port}{path}", installation.headers, bodies)
        return Launch(running.server, running.is_ready, target, status, count_recorded)

    return launch


def prepare_guide(model: TrainedModel, workspace: Workspace) -> Callable[[], Launch]:
    folder = workspace.subfolder(f"guide_{model.name}")
    database = f"benchmark_guide_{model.name}"
    workspace.postgresql.recreate(database)
    environment = environments.GUIDE.variables(
        DATABASE_URL=workspace.postgresql.database_url(database, "asyncpg"),
        SECRET_KEY="not used by anything in the guide's example",  # noqa: S106
        PYTHONPATH=str(PROJECT),
    )

    def create_server(port: int) -> Server:
        command = [environments.GUIDE.program("uvicorn"), "benchmarks.peers.apps.guide:app"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--no-access-log", "--log-level", "warning"]
        log = folder / "server.log"
        return Server(command, environment=environment, folder=folder, log=log)

    port = free_port()
    with create_server(port) as server:
        server.wait_until(partial(_is_guide_ready, port), seconds=READY_SECONDS)
        version = {"name": model.name, "version": "1", "framework": "sklearn"}
        model_id = Client(port).post("/api/v1/models/", version).json()["id"]
    bodies = [json.dumps(prediction_request(model_id, row)) for row in model.rows]
    count_recorded = partial(records.count, workspace.postgresql.database_url(database))

    def launch() -> Launch:
        port = free_port()
        target = Target(f"http://127.0.0.1:{port}/api/v1/predictions/", {}, bodies)
        is_ready = partial(_is_guide_ready, port)
        return Launch(create_server(port), is_ready, target, 201, count_recorded)

    return launch


def _is_guide_ready(port: int) -> bool:
    return Client(port, timeout=5).get("/health").status == 200


def _mlapi(
    name: str, description: str, variant: Variant, models: tuple[str, ...] | None = None
) -> Peer:
    prepare = partial(prepare_mlapi, variant=variant)
    if models is None:
        return Peer(name, description, environments.MLAPI, prepare)
    return Peer(name, description, environments.MLAPI, prepare, models)


PEERS = [
    _mlapi("mlapi", "token checked, recorded in PostgreSQL; ONNX", Variant()),
    _mlapi("mlapi-pinned", "the same with `serve --pin`", Variant(pin=True), (IRIS,)),
    _mlapi("mlapi-v2", "the same through /v2, with MLServer's requests", Variant(v2=True)),
    _mlapi(
        "mlapi-skops",
        "token checked, recorded in PostgreSQL; scikit-learn itself",
        Variant(suffix="skops"),
    ),
    _mlapi("mlapi-sqlite", "token checked, recorded in SQLite; ONNX", Variant(on_sqlite=True)),
    # It computes a sum instead of running a model: one data set is enough.
    Peer(
        "guide",
        "no token, a sum instead of a model, recorded in PostgreSQL",
        environments.GUIDE,
        prepare_guide,
        (IRIS,),
    ),
]
