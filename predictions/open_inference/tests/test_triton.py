"""Triton's own client, unmodified, against the production server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from registry.signatures.signature import DTYPES
from registry.testing.processes import MANAGE, free_port, manage
from registry.testing.trained_models import (
    Trained,
    columns_onnx,
    diabetes_onnx,
    iris_onnx,
    iris_skops,
)

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery staple"
START_SECONDS = 30

# -- a server with models of every datatype


def every_datatype_onnx(path: Path) -> Path:
    """A model that answers what it is given, in a tensor of each datatype."""
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
    """A running server, its models as they were trained, and a client with a token."""

    port: int
    token: str
    models: Mapping[str, Trained]
    client: InferenceServerClient

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def infer(self, name: str, inputs: Any, **options: Any) -> Any:
        return self.client.infer(name, inputs, headers=self.headers, **options)

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        request = Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urlopen(request, timeout=10) as response:  # noqa: S310
            return json.load(response)

    def recorded(self, result: Any) -> list[Any]:
        """The rows of the log that an answer names."""
        ids = json.loads(result.get_response()["parameters"]["prediction_ids"])
        return [self.ask(f"/api/v1/predictions/{pk}/") for pk in ids]


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
    commands = [
        ["migrate", "-v0"],
        ["createsuperuser", "--noinput", "--username=ada", "--email=ada@example.org"],
        *(register(name, model.path) for name, model in models.items()),
    ]
    for command in commands:
        done = manage(*command, **environment)
        assert done.returncode == 0, done.stderr
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, MANAGE, "serve", "--port", str(port), "--workers", "1"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = InferenceServerClient(f"127.0.0.1:{port}", connection_timeout=60)
    try:
        wait_until_live(client)
        token = log_in(port)
        yield Served(port, token, models, client)
    finally:
        client.close()
        process.terminate()
        process.wait(15)


def register(name: str, file: Path) -> list[str]:
    # Of that model no made-up row will do: it raises for cities that it does not know.
    example = ["--example", '[{"city": "Bern", "seats": 1}]'] if name == "columns" else []
    return ["register_model", str(file), "--name", name, "--version", "1", *example]


def wait_until_live(client: InferenceServerClient) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.is_server_live():
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("The server did not start")


def log_in(port: int) -> str:
    body = json.dumps({"username": "ada", "password": PASSWORD}).encode()
    url = f"http://127.0.0.1:{port}/api/v1/auth/token/"
    request = Request(url, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:  # noqa: S310
        token: str = json.load(response)["access"]
        return token


def tensor(name: str, datatype: str, array: np.ndarray, *, binary: bool) -> InferInput:
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def wanted(binary: bool, *names: str) -> list[InferRequestedOutput]:
    return [InferRequestedOutput(name, binary_data=binary) for name in names]


both_forms = pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
both_ways = pytest.mark.parametrize("version", ["", "1"], ids=["champion", "version"])


# -- the server and its models


def test_the_server_is_live_and_ready(served: Served) -> None:
    assert served.client.is_server_live()
    assert served.client.is_server_ready()
    assert (
        "binary_tensor_data"
        in (served.client.get_server_metadata(headers=served.headers)["extensions"])
    )


@both_ways
def test_a_model_is_ready_and_told(served: Served, version: str) -> None:
    headers = served.headers

    assert served.client.is_model_ready("iris", version, headers=headers)
    assert not served.client.is_model_ready("wine", version, headers=headers)
    assert served.client.get_model_metadata("iris", version, headers=headers) == {
        "name": "iris",
        "versions": ["1"],
        "platform": "sklearn_skops",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]},
        ],
    }


def test_the_index_and_statistics_are_read(served: Served) -> None:
    index = served.client.get_model_repository_index(headers=served.headers)
    assert {one["name"] for one in index} == set(served.models)
    assert {one["state"] for one in index} == {"READY"}

    array = np.ones((2, 4))
    served.infer("iris", [tensor("features", "FP64", array, binary=True)])
    stats = served.client.get_inference_statistics("iris", headers=served.headers)
    assert stats["model_stats"][0]["inference_count"] >= 2


def test_a_refusal_reaches_the_caller(served: Served) -> None:
    given = tensor("features", "FP64", np.ones((1, 3)), binary=True)

    with pytest.raises(InferenceServerException, match="Must hold 4 values, not 3") as raised:
        served.infer("iris", [given])
    assert raised.value.status() == "400"
    with pytest.raises(InferenceServerException) as raised:
        served.client.infer("iris", [given])
    assert raised.value.status() == "401"


# -- inference


@both_ways
@both_forms
def test_fp64_in_int64_out(served: Served, binary: bool, version: str) -> None:
    model = served.models["iris"]

    result = served.infer(
        "iris",
        [tensor("features", "FP64", model.rows, binary=binary)],
        model_version=version,
        outputs=wanted(binary, "label", "probabilities"),
        request_id="42",
    )

    labels, probabilities = result.as_numpy("label"), result.as_numpy("probabilities")
    assert labels.dtype == np.int64
    assert np.array_equal(labels, model.estimator.predict(model.rows))
    assert np.allclose(probabilities, model.estimator.predict_proba(model.rows), rtol=1e-12)
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", "iris", "1")
    rows = served.recorded(result)
    assert [row["input_data"]["features"] for row in rows] == model.rows.tolist()
    assert [row["output"]["label"] for row in rows] == labels.tolist()
    assert {row["alias"] for row in rows} == {None if version else "champion"}


@both_ways
@both_forms
def test_fp32_in_fp32_out(served: Served, binary: bool, version: str) -> None:
    model = served.models["diabetes"]
    session = onnxruntime.InferenceSession(model.path)
    [expected] = session.run(None, {"X": model.rows})
    [name] = [output.name for output in session.get_outputs()]

    result = served.infer(
        "diabetes",
        [tensor("X", "FP32", model.rows, binary=binary)],
        model_version=version,
        outputs=wanted(binary, name),
    )

    assert result.as_numpy(name).dtype == np.float32
    assert np.allclose(result.as_numpy(name).reshape(-1), expected.reshape(-1), rtol=1e-6)
    assert len(served.recorded(result)) == len(model.rows)


@both_ways
@both_forms
def test_bytes_out(served: Served, binary: bool, version: str) -> None:
    model = served.models["species"]

    result = served.infer(
        "species",
        [tensor("X", "FP32", model.rows, binary=binary)],
        model_version=version,
        outputs=wanted(binary, "label"),
    )

    labels = [x.decode() if isinstance(x, bytes) else x for x in result.as_numpy("label")]
    assert labels == list(model.estimator.predict(model.rows.astype(np.float64)))
    assert [row["output"]["label"] for row in served.recorded(result)] == labels


@both_ways
@both_forms
def test_bytes_in_as_a_column_beside_numbers(served: Served, binary: bool, version: str) -> None:
    model = served.models["columns"]
    cities = model.rows[:, :1].astype(object)
    seats = model.rows[:, 1:].astype(np.float32)

    result = served.infer(
        "columns",
        [
            tensor("city", "BYTES", cities, binary=binary),
            tensor("seats", "FP32", seats, binary=binary),
        ],
        model_version=version,
        outputs=wanted(binary, "label"),
    )

    assert np.array_equal(result.as_numpy("label"), model.estimator.predict(model.rows))
    rows = served.recorded(result)
    assert [row["input_data"]["city"] for row in rows] == cities.reshape(-1).tolist()


def extremes(datatype: str) -> np.ndarray:
    dtype = DTYPES[datatype]
    if dtype.kind == "O":
        return np.array([["", "Köln"], ["\U0001f600", "a"]], object)
    if dtype.kind == "b":
        return np.array([[True, False], [False, True]])
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[limits.min, limits.max], [0, 1]], dtype)


@both_forms
def test_every_datatype_comes_back_exactly(served: Served, binary: bool) -> None:
    arrays = {datatype: extremes(datatype) for datatype in DTYPES}

    result = served.infer(
        "echo",
        [tensor(f"in_{n}", n, array, binary=binary) for n, array in arrays.items()],
        outputs=wanted(binary, *(f"out_{n}" for n in arrays)),
    )

    for datatype, array in arrays.items():
        told = result.as_numpy(f"out_{datatype}")
        if datatype == "BYTES":
            told = np.vectorize(lambda x: x.decode() if isinstance(x, bytes) else x)(told)
            assert told.tolist() == array.tolist()
        else:
            assert told.dtype == array.dtype
            assert np.array_equal(told, array)


def test_outputs_are_binary_where_nobody_says_otherwise(served: Served) -> None:
    array = served.models["iris"].rows[:1]

    result = served.infer("iris", [tensor("features", "FP64", array, binary=True)])

    sizes = [one["parameters"]["binary_data_size"] for one in result.get_response()["outputs"]]
    assert sizes == [8, 24]


def test_parameters_reach_the_record(served: Served) -> None:
    given = [tensor("features", "FP64", served.models["iris"].rows[:1], binary=True)]
    parameters = {
        "idempotency_key": "once",
        "subject": "ada",
        "reference": "order-1",
        "metadata": '{"batch": 7}',
    }

    first = served.infer("iris", given, parameters=parameters)
    again = served.infer("iris", given, parameters=parameters)

    [row] = served.recorded(first)
    assert (row["subject"], row["reference"], row["metadata"]) == ("ada", "order-1", {"batch": 7})
    assert again.get_response()["parameters"] == first.get_response()["parameters"]
