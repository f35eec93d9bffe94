"""The production server with models of every datatype, for Triton's own client."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from onnx import TensorProto, helper
from tritonclient.http import InferenceServerClient, InferInput, InferResult

from registry.signatures.signature import DTYPES
from registry.testing.clients import PASSWORD
from registry.testing.processes import MANAGE, free_port, manage
from registry.testing.trained_models import (
    Trained,
    columns_onnx,
    diabetes_onnx,
    iris_onnx,
    iris_skops,
)

START_SECONDS = 30


def every_datatype_onnx(path: Path) -> Path:
    """A model that returns its inputs, one tensor of each datatype."""
    types = {
        name: TensorProto.STRING if name == "BYTES" else helper.np_dtype_to_tensor_dtype(dtype)
        for name, dtype in DTYPES.items()
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"in_{n}"], [f"out_{n}"]) for n in types],
        "echo",
        [helper.make_tensor_value_info(f"in_{n}", t, ["n", 2]) for n, t in types.items()],
        [helper.make_tensor_value_info(f"out_{n}", t, ["n", 2]) for n, t in types.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@dataclass(frozen=True)
class Served:
    """A running server, its models as they were trained, a client and an access token."""

    port: int
    token: str
    models: Mapping[str, Trained]
    client: InferenceServerClient

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def infer(self, name: str, inputs: Sequence[InferInput], **options: Any) -> InferResult:
        return self.client.infer(name, inputs, headers=self.headers, **options)

    def get(self, path: str) -> Any:
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers=self.headers)
        with urlopen(request, timeout=10) as response:  # noqa: S310
            return json.load(response)

    def recorded(self, result: InferResult) -> list[Any]:
        """The predictions whose IDs are in a response."""
        ids = json.loads(result.get_response()["parameters"]["prediction_ids"])
        return [self.get(f"/api/v1/predictions/{pk}/") for pk in ids]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("triton")
    models = {
        "iris": iris_skops(folder / "iris.skops"),
        "species": iris_onnx(folder / "species.onnx"),
        "diabetes": diabetes_onnx(folder / "diabetes.onnx"),
        "columns": columns_onnx(folder / "columns.onnx"),
        "echo": Trained(every_datatype_onnx(folder / "echo.onnx"), None, None),
    }
    environment = {
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "MODEL_PATH": str(folder / "models"),
        "MODEL_CACHE_SIZE": "5",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    _prepare(models, environment)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, MANAGE, "serve", "--port", str(port), "--workers", "1"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = InferenceServerClient(f"127.0.0.1:{port}", connection_timeout=60)
    try:
        _wait_until_ready(client)
        yield Served(port, _log_in(port), models, client)
    finally:
        client.close()
        process.terminate()
        process.wait(15)


def _prepare(models: Mapping[str, Trained], environment: Mapping[str, str]) -> None:
    """Create the database, the user and the models."""
    commands = [
        ["migrate", "-v0"],
        ["createsuperuser", "--noinput", "--username=ada", "--email=ada@example.org"],
        *(_register(name, model.path) for name, model in models.items()),
    ]
    for command in commands:
        process = manage(*command, **environment)
        assert process.returncode == 0, process.stderr


def _register(name: str, file: Path) -> list[str]:
    # This model needs an example, since it raises for an unknown city.
    example = ["--example", '[{"city": "Bern", "seats": 1}]'] if name == "columns" else []
    return ["register_model", str(file), "--name", name, "--version", "1", *example]


def _wait_until_ready(client: InferenceServerClient) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.is_server_ready():
                return
        except OSError:
            # It does not listen yet.
            pass
        time.sleep(0.1)
    raise AssertionError("The server did not start")


def _log_in(port: int) -> str:
    body = json.dumps({"username": "ada", "password": PASSWORD}).encode()
    url = f"http://127.0.0.1:{port}/api/v1/auth/token/"
    request = Request(url, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:  # noqa: S310
        token: str = json.load(response)["access"]
        return token
