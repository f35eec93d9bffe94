"""The peers that record each prediction in a database: mlapi, and the guide's stack."""

import json
from collections.abc import Callable
from functools import partial

from benchmarks.harness import environments, records
from benchmarks.harness.client import Client
from benchmarks.harness.environments import PROJECT
from benchmarks.harness.load import Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server, free_port
from benchmarks.harness.service import PREDICTIONS, READY_SECONDS, Service, prediction_request
from benchmarks.peers.base import IRIS, Bench, Launch, Peer
from benchmarks.peers.serving import infer_request


def prepare_mlapi(
    model: TrainedModel,
    bench: Bench,
    *,
    suffix: str,
    on_sqlite: bool = False,
    pin: bool = False,
    v2: bool = False,
) -> Callable[[], Launch]:
    name = f"mlapi_{model.name}_{suffix}_{'sqlite' if on_sqlite else 'postgresql'}"
    name += "_pinned" if pin else ""
    name += "_v2" if v2 else ""
    folder = bench.workshop(name)
    if on_sqlite:
        url = f"sqlite:///{folder / 'db.sqlite3'}"
    else:
        database = f"benchmark_{name}"
        bench.postgresql.recreate(database)
        url = bench.postgresql.database_url(database)
    service = Service(url, folder)
    service.install()
    service.register(model.file(suffix), name=model.name)
    # Once for the token and the id; the measured starts then ask for nothing else.
    with service.server() as running:
        model_id = running.model_id(model.name)
    if v2:
        # What MLServer is asked, by the name as there.
        path, status = f"/v2/models/{model.name}/infer", 200
        bodies = [json.dumps(infer_request(row)) for row in model.rows]
    else:
        path, status = PREDICTIONS, 201
        bodies = [json.dumps(prediction_request(model_id, row)) for row in model.rows]
    headers = {"Authorization": f"Bearer {service.token}"}
    recorded = partial(records.count, url)

    def launch() -> Launch:
        running = service.server(pin=pin)
        target = Target(f"http://127.0.0.1:{running.port}{path}", headers, bodies)
        return Launch(running.server, running.is_ready, target, status, recorded)

    return launch


def prepare_guide(model: TrainedModel, bench: Bench) -> Callable[[], Launch]:
    folder = bench.workshop(f"guide_{model.name}")
    database = f"benchmark_guide_{model.name}"
    bench.postgresql.recreate(database)
    environment = environments.GUIDE.variables(
        DATABASE_URL=bench.postgresql.database_url(database, "asyncpg"),
        SECRET_KEY="not used by anything that the guide shows",  # noqa: S106
        PYTHONPATH=str(PROJECT),
    )

    def start(port: int) -> Server:
        command = [environments.GUIDE.program("uvicorn"), "benchmarks.peers.apps.guide:app"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--no-access-log", "--log-level", "warning"]
        log = folder / "server.log"
        return Server(command, environment=environment, folder=folder, log=log)

    port = free_port()
    with start(port) as server:
        server.wait_until(partial(_guide_is_ready, port), seconds=READY_SECONDS)
        version = {"name": model.name, "version": "1", "framework": "sklearn"}
        model_id = Client(port).post("/api/v1/models/", version).json()["id"]
    bodies = [json.dumps(prediction_request(model_id, row)) for row in model.rows]
    recorded = partial(records.count, bench.postgresql.database_url(database))

    def launch() -> Launch:
        port = free_port()
        target = Target(f"http://127.0.0.1:{port}/api/v1/predictions/", {}, bodies)
        return Launch(start(port), partial(_guide_is_ready, port), target, 201, recorded)

    return launch


def _guide_is_ready(port: int) -> bool:
    return Client(port, timeout=5).get("/health").status == 200


PEERS = [
    Peer(
        "mlapi",
        "token checked, recorded in PostgreSQL; ONNX",
        environments.MLAPI,
        partial(prepare_mlapi, suffix="onnx"),
    ),
    Peer(
        "mlapi-pinned",
        "the same with `serve --pin`",
        environments.MLAPI,
        partial(prepare_mlapi, suffix="onnx", pin=True),
        (IRIS,),
    ),
    Peer(
        "mlapi-v2",
        "the same through /v2, by name, with MLServer's requests",
        environments.MLAPI,
        partial(prepare_mlapi, suffix="onnx", v2=True),
    ),
    Peer(
        "mlapi-skops",
        "token checked, recorded in PostgreSQL; scikit-learn itself",
        environments.MLAPI,
        partial(prepare_mlapi, suffix="skops"),
    ),
    Peer(
        "mlapi-sqlite",
        "token checked, recorded in SQLite; ONNX",
        environments.MLAPI,
        partial(prepare_mlapi, suffix="onnx", on_sqlite=True),
    ),
    # It has no model, only a sum: one data set tells all.
    Peer(
        "guide",
        "no token, a sum for a model, recorded in PostgreSQL",
        environments.GUIDE,
        prepare_guide,
        (IRIS,),
    ),
]
