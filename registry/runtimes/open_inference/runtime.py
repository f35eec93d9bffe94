"""Models on other servers that speak the Open Inference Protocol (V2) over HTTP: KServe, Triton,
MLServer, Ray Serve. No Django here.

The artifact is a small JSON document (see `document`). The server is asked once for the model's
metadata, at registration; each response is checked against the signature from then.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs
from registry.runtimes.open_inference.client import RemoteClient
from registry.runtimes.open_inference.document import read_document
from registry.runtimes.open_inference.endpoint import ModelEndpoint
from registry.runtimes.open_inference.signature import (
    TensorMetadata,
    read_signature,
    require_valid,
)
from registry.signatures.signature import DATATYPES, ClassLabel, Input, Output, Signature

MAX_LIBRARY_CHARACTERS = 100


class OpenInferenceRuntime:
    """A model on another server; the datatype, shape and rows of each output are checked."""

    def __init__(
        self,
        endpoint: ModelEndpoint,
        signature: Signature,
        libraries: Mapping[str, str] | None = None,
    ) -> None:
        self.libraries: Mapping[str, str] = libraries or {}
        self.signature = signature
        self._endpoint = endpoint
        self._output_names = [output.name for output in signature.outputs]

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows in one call; see Runtime.predict. Raises RuntimeUnavailable if the server
        does not respond.
        """
        return self._predict(inputs, None)

    def predict_within(self, inputs: Mapping[str, np.ndarray], seconds: float) -> Outputs:
        """Like `predict`; raises DeadlineExceeded if there is no answer after `seconds`."""
        return self._predict(inputs, time.monotonic() + seconds)

    def _predict(self, inputs: Mapping[str, np.ndarray], give_up_at: float | None) -> Outputs:
        n_rows = len(next(iter(inputs.values())))
        arrays = self._endpoint.infer(
            inputs, self.signature.inputs, self._output_names, give_up_at=give_up_at
        )
        return {
            output.name: _checked_output(output, arrays.get(output.name), n_rows)
            for output in self.signature.outputs
        }


def load(path: Path, options: LoadOptions) -> OpenInferenceRuntime:
    """Read a document and the model's signature; raises LoadError.

    With `options.proven` the server is not called. So if it is down, the model still loads, and
    each prediction fails and is recorded.
    """
    document = read_document(path)
    endpoint = ModelEndpoint(document, RemoteClient(document, options.remote))
    if options.proven is not None:
        return OpenInferenceRuntime(endpoint, options.proven)

    def probe(inputs: tuple[Input, ...], outputs: Sequence[str]) -> list[TensorMetadata]:
        arrays = endpoint.infer(Signature(inputs).sample(), inputs, outputs)
        return [_metadata_of_one_row(name, array) for name, array in arrays.items()]

    try:
        signature = read_signature(endpoint.model_metadata(), options.declared, probe)
        libraries = _libraries(endpoint.server_metadata())
    except InferenceError as error:
        raise LoadError(f"cannot read the model's metadata from its server: {error}") from error
    require_valid(signature)
    return OpenInferenceRuntime(endpoint, signature, libraries)


def _metadata_of_one_row(name: str, array: np.ndarray) -> TensorMetadata:
    if len(array) != 1:
        raise LoadError(
            f"output '{name}' has the shape {list(array.shape)} for one row: the first dimension "
            "of every output must be the rows"
        )
    return TensorMetadata(name, DATATYPES[array.dtype], (-1, *array.shape[1:]))


def _libraries(server: Mapping[str, object]) -> dict[str, str]:
    name, version = server.get("name"), server.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name:
        return {}
    return {name[:MAX_LIBRARY_CHARACTERS]: version[:MAX_LIBRARY_CHARACTERS]}


# -- outputs


def _checked_output(output: Output, array: np.ndarray | None, n_rows: int) -> np.ndarray:
    """The array of one output as the signature describes it; raises InferenceError."""
    if array is None:
        raise InferenceError(f"The response has no output '{output.name}'")
    if len(array) != n_rows:
        raise InferenceError(
            f"The response has {len(array)} rows of '{output.name}', but {n_rows} were sent"
        )
    if output.kind == "label":
        return _class_indices(output, array)
    datatype = DATATYPES[array.dtype]
    if datatype != output.datatype:
        raise InferenceError(
            f"The response has {datatype} for '{output.name}', not {output.datatype}"
        )
    if len(output.shape) == 1 and array.size == n_rows:
        return array.reshape(n_rows)
    row_shape = output.shape[1:]
    if array.ndim != len(output.shape) or any(
        expected not in (-1, actual)
        for expected, actual in zip(row_shape, array.shape[1:], strict=True)
    ):
        raise InferenceError(
            f"The response has the shape {list(array.shape)} for '{output.name}', not "
            f"{[n_rows, *row_shape]}"
        )
    return array


def _class_indices(output: Output, array: np.ndarray) -> np.ndarray:
    """The index of each label in the classes. If the classes are texts but the labels are
    integers, the labels are the indices already.
    """
    if array.size != len(array):
        raise InferenceError(f"The response has more than one label per row in '{output.name}'")
    index_of: dict[ClassLabel, int]
    if output.datatype == "BYTES" and array.dtype.kind in "iu":
        index_of = {index: index for index in range(len(output.classes))}
    else:
        index_of = {label: index for index, label in enumerate(output.classes)}
    try:
        return np.array([index_of[label] for label in array.reshape(-1).tolist()], dtype=np.int64)
    except KeyError as error:
        raise InferenceError(
            f"The response has the class {error} for '{output.name}', which is not one of the "
            "model's classes"
        ) from error
