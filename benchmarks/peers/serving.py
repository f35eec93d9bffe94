"""The peers that record nothing: model servers with default settings, and a bare Django view."""

import json
from collections.abc import Callable
from functools import partial

from benchmarks.harness import environments
from benchmarks.harness.client import Client
from benchmarks.harness.environments import PROJECT, Interpreter
from benchmarks.harness.load import Target
from benchmarks.harness.models import TrainedModel
from benchmarks.harness.processes import Server, free_port
from benchmarks.harness.service import infer_request
from benchmarks.peers.base import IRIS, Launch, Peer, Workspace

SAVE_FOR_MLFLOW = """
import sys, joblib, mlflow.sklearn
mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], serialization_format="cloudpickle")
"""

# Benchmarks must not send usage reports to the vendors.
NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def prepare_mlserver(model: TrainedModel, workspace: Workspace) -> Callable[[], Launch]:
    folder = workspace.subfolder(f"mlserver_{model.name}")
    settings = {
        "name": model.name,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(model.file("joblib")), "version": "1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    bodies = [json.dumps(infer_request(row)) for row in model.rows]

    def launch() -> Launch:
        port = free_port()
        return _launch(
            environments.MLSERVER,
            [environments.MLSERVER.program("mlserver"), "start", str(folder)],
            workspace=workspace,
            name=f"mlserver_{model.name}",
            port=port,
            ready=f"/v2/models/{model.name}/ready",
            path=f"/v2/models/{model.name}/infer",
            bodies=bodies,
            MLSERVER_HOST="127.0.0.1",
            MLSERVER_HTTP_PORT=str(port),
            MLSERVER_GRPC_PORT=str(free_port()),
            MLSERVER_METRICS_PORT=str(free_port()),
            # Turns the access log off.
            MLSERVER_DEBUG="false",
        )

    return launch


def prepare_mlflow(model: TrainedModel, workspace: Workspace) -> Callable[[], Launch]:
    saved = workspace.subfolder(f"mlflow_{model.name}") / "model"
    environments.MLFLOW.run_python(
        SAVE_FOR_MLFLOW, str(model.file("joblib")), str(saved), **NO_TELEMETRY
    )
    bodies = [json.dumps({"inputs": [row]}) for row in model.rows]

    def launch() -> Launch:
        port = free_port()
        command = [environments.MLFLOW.program("mlflow"), "models", "serve"]
        command += ["--model-uri", str(saved), "--env-manager", "local"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        return _launch(
            environments.MLFLOW,
            command,
            workspace=workspace,
            name=f"mlflow_{model.name}",
            port=port,
            ready="/ping",
            path="/invocations",
            bodies=bodies,
            # It serves with uvicorn and has no option of its own for the access log.
            UVICORN_ACCESS_LOG="false",
        )

    return launch


def prepare_bentoml(model: TrainedModel, workspace: Workspace) -> Callable[[], Launch]:
    bodies = [json.dumps({"rows": [row]}) for row in model.rows]

    def launch() -> Launch:
        port = free_port()
        command = [environments.BENTOML.program("bentoml"), "serve"]
        command += ["benchmarks.peers.apps.bento:Classifier"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(PROJECT)]
        return _launch(
            environments.BENTOML,
            command,
            workspace=workspace,
            name=f"bentoml_{model.name}",
            port=port,
            ready="/readyz",
            path="/predict",
            bodies=bodies,
            BENCHMARK_MODEL=str(model.file("joblib")),
            BENTOML_HOME=str(workspace.subfolder("bentoml_home")),
        )

    return launch


def prepare_litserve(model: TrainedModel, workspace: Workspace) -> Callable[[], Launch]:
    bodies = [json.dumps({"rows": [row]}) for row in model.rows]

    def launch() -> Launch:
        port = free_port()
        return _launch(
            environments.LITSERVE,
            [environments.LITSERVE.python, "-m", "benchmarks.peers.apps.lit", str(port)],
            workspace=workspace,
            name=f"litserve_{model.name}",
            port=port,
            ready="/health",
            path="/predict",
            bodies=bodies,
            BENCHMARK_MODEL=str(model.file("joblib")),
        )

    return launch


def prepare_django(
    model: TrainedModel, workspace: Workspace, interpreter: Interpreter = environments.MLAPI
) -> Callable[[], Launch]:
    bodies = [json.dumps({"features": row}) for row in model.rows]

    def launch() -> Launch:
        port = free_port()
        command = [interpreter.python, "-m", "granian", "--port", str(port)]
        command += ["--interface", "wsgi", "--workers", "1", "--blocking-threads", "16"]
        command += ["--log-level", "error"]
        return _launch(
            interpreter,
            [*command, "benchmarks.peers.apps.constant:application"],
            workspace=workspace,
            name=f"django_{model.name}",
            port=port,
            ready="/",
            path="/",
            bodies=bodies,
        )

    return launch


def _launch(
    environment: Interpreter,
    command: list[str],
    *,
    workspace: Workspace,
    name: str,
    port: int,
    ready: str,
    path: str,
    bodies: list[str],
    **variables: str,
) -> Launch:
    folder = workspace.subfolder(name)
    server = Server(
        command,
        environment=environment.variables(PYTHONPATH=str(PROJECT), **NO_TELEMETRY, **variables),
        folder=folder,
        log=folder / "server.log",
    )
    target = Target(f"http://127.0.0.1:{port}{path}", {}, bodies)
    return Launch(server, partial(_answers_200, port, ready), target)


def _answers_200(port: int, path: str) -> bool:
    return Client(port, timeout=5).get(path).status == 200


PEERS = [
    Peer("mlserver", "predict only", environments.MLSERVER, prepare_mlserver),
    Peer("mlflow", "predict only", environments.MLFLOW, prepare_mlflow),
    Peer("bentoml", "predict only", environments.BENTOML, prepare_bentoml),
    Peer("litserve", "predict only", environments.LITSERVE, prepare_litserve),
    Peer(
        "django",
        "a view that returns a constant: the upper limit of the stack",
        environments.MLAPI,
        prepare_django,
        (IRIS,),
    ),
]
