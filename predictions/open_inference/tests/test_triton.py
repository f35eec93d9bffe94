"""Triton's own client, unmodified, against the production server."""

import numpy as np
import onnxruntime
import pytest
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from predictions.testing.triton import Served
from predictions.testing.triton import served as served
from registry.signatures.signature import DTYPES

pytestmark = pytest.mark.slow


def tensor(name: str, datatype: str, array: np.ndarray, *, binary: bool) -> InferInput:
    infer_input = InferInput(name, list(array.shape), datatype)
    infer_input.set_data_from_numpy(array, binary_data=binary)
    return infer_input


def requested(binary: bool, *names: str) -> list[InferRequestedOutput]:
    return [InferRequestedOutput(name, binary_data=binary) for name in names]


both_encodings = pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
both_paths = pytest.mark.parametrize("version", ["", "1"], ids=["champion", "version"])


# -- the server and its models


def test_the_server_is_live_and_ready(served: Served) -> None:
    assert served.client.is_server_live()
    assert served.client.is_server_ready()
    metadata = served.client.get_server_metadata(headers=served.headers)
    assert "binary_tensor_data" in metadata["extensions"]


@both_paths
def test_a_model_is_ready_and_has_metadata(served: Served, version: str) -> None:
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


def test_the_index_and_statistics_are_available(served: Served) -> None:
    index = served.client.get_model_repository_index(headers=served.headers)
    assert {model["name"] for model in index} == set(served.models)
    assert {model["state"] for model in index} == {"READY"}

    array = np.ones((2, 4))
    served.infer("iris", [tensor("features", "FP64", array, binary=True)])
    stats = served.client.get_inference_statistics("iris", headers=served.headers)
    assert stats["model_stats"][0]["inference_count"] >= 2


def test_an_error_reaches_the_caller(served: Served) -> None:
    features = tensor("features", "FP64", np.ones((1, 3)), binary=True)

    with pytest.raises(InferenceServerException, match="Must hold 4 values, not 3") as raised:
        served.infer("iris", [features])
    assert raised.value.status() == "400"
    with pytest.raises(InferenceServerException) as raised:
        served.client.infer("iris", [features])
    assert raised.value.status() == "401"


# -- inference


@both_paths
@both_encodings
def test_fp64_in_int64_out(served: Served, binary: bool, version: str) -> None:
    model = served.models["iris"]

    result = served.infer(
        "iris",
        [tensor("features", "FP64", model.rows, binary=binary)],
        model_version=version,
        outputs=requested(binary, "label", "probabilities"),
        request_id="42",
    )

    labels, probabilities = result.as_numpy("label"), result.as_numpy("probabilities")
    assert labels.dtype == np.int64
    assert np.array_equal(labels, model.estimator.predict(model.rows))
    assert np.allclose(probabilities, model.estimator.predict_proba(model.rows), rtol=1e-12)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == (
        "42",
        "iris",
        "1",
    )
    rows = served.recorded(result)
    assert [row["input_data"]["features"] for row in rows] == model.rows.tolist()
    assert [row["output"]["label"] for row in rows] == labels.tolist()
    assert {row["alias"] for row in rows} == {None if version else "champion"}


@both_paths
@both_encodings
def test_fp32_in_fp32_out(served: Served, binary: bool, version: str) -> None:
    model = served.models["diabetes"]
    session = onnxruntime.InferenceSession(model.path)
    [expected] = session.run(None, {"X": model.rows})
    [name] = [output.name for output in session.get_outputs()]

    result = served.infer(
        "diabetes",
        [tensor("X", "FP32", model.rows, binary=binary)],
        model_version=version,
        outputs=requested(binary, name),
    )

    assert result.as_numpy(name).dtype == np.float32
    assert np.allclose(result.as_numpy(name).reshape(-1), expected.reshape(-1), rtol=1e-6)
    assert len(served.recorded(result)) == len(model.rows)


@both_paths
@both_encodings
def test_bytes_out(served: Served, binary: bool, version: str) -> None:
    model = served.models["species"]

    result = served.infer(
        "species",
        [tensor("X", "FP32", model.rows, binary=binary)],
        model_version=version,
        outputs=requested(binary, "label"),
    )

    labels = [x.decode() if isinstance(x, bytes) else x for x in result.as_numpy("label")]
    assert labels == list(model.estimator.predict(model.rows.astype(np.float64)))
    assert [row["output"]["label"] for row in served.recorded(result)] == labels


@both_paths
@both_encodings
def test_bytes_and_fp32_in(served: Served, binary: bool, version: str) -> None:
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
        outputs=requested(binary, "label"),
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
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[limits.min, limits.max], [0, 1]], dtype)


@both_encodings
def test_every_datatype_comes_back_exactly(served: Served, binary: bool) -> None:
    arrays = {datatype: extremes(datatype) for datatype in DTYPES}

    result = served.infer(
        "echo",
        [tensor(f"in_{n}", n, array, binary=binary) for n, array in arrays.items()],
        outputs=requested(binary, *(f"out_{n}" for n in arrays)),
    )

    for datatype, array in arrays.items():
        output = result.as_numpy(f"out_{datatype}")
        if datatype == "BYTES":
            output = np.vectorize(lambda x: x.decode() if isinstance(x, bytes) else x)(output)
            assert output.tolist() == array.tolist()
        else:
            assert output.dtype == array.dtype
            assert np.array_equal(output, array)


def test_outputs_are_binary_by_default(served: Served) -> None:
    array = served.models["iris"].rows[:1]

    result = served.infer("iris", [tensor("features", "FP64", array, binary=True)])

    outputs = result.get_response()["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    assert sizes == [8, 24]


def test_parameters_are_recorded(served: Served) -> None:
    inputs = [tensor("features", "FP64", served.models["iris"].rows[:1], binary=True)]
    parameters = {
        "idempotency_key": "once",
        "subject": "ada",
        "reference": "order-1",
        "metadata": '{"batch": 7}',
    }

    first = served.infer("iris", inputs, parameters=parameters)
    again = served.infer("iris", inputs, parameters=parameters)

    [row] = served.recorded(first)
    assert (row["subject"], row["reference"], row["metadata"]) == ("ada", "order-1", {"batch": 7})
    assert again.get_response()["parameters"] == first.get_response()["parameters"]
