"""Models on other servers that speak the Open Inference Protocol (V2) over HTTP: KServe, Triton,
MLServer, Ray Serve. No Django here.

The artifact is a small JSON document (`_remote_document`); what the server tells of the model is
asked once, at registration, and each answer is held against it.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from registry.open_inference.binary import TensorError
from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    RuntimeUnavailable,
)
from registry.runtimes.open_inference.breaker import CircuitBreaker
from registry.runtimes.open_inference.client import MAX_RETRY_SECONDS, Answer, RemoteClient
from registry.runtimes.open_inference.document import RemoteModel, read_document
from registry.runtimes.open_inference.signature import Told, read_signature, require_usable
from registry.runtimes.open_inference.tensors import Tensor, read_answer, write_request
from registry.signatures.signature import DTYPES, Input, Output, Signature

# After so many calls in a row that found no server, nobody waits for it for so long.
BREAKER_FAILURES = 5
BREAKER_SECONDS = 5.0
BINARY_EXTENSION = "binary_tensor_data"
MAX_MESSAGE_CHARACTERS = 500
MAX_LIBRARY_CHARACTERS = 100
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ABSENCES = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class _Remote:
    """The protocol's calls to one model; whatever is wrong is an InferenceError."""

    def __init__(self, remote: RemoteModel, client: RemoteClient) -> None:
        version = f"/versions/{quote(remote.version, safe='')}" if remote.version else ""
        self._path = f"/v2/models/{quote(remote.model, safe='')}{version}"
        self._client = client
        self._wish = remote.binary
        self._binary: bool | None = remote.binary
        self._breaker = CircuitBreaker(limit=BREAKER_FAILURES, open_seconds=BREAKER_SECONDS)

    def model_metadata(self) -> Mapping[str, Any]:
        return _document(self._checked(self._client.request("GET", self._path)))

    def server_metadata(self) -> Mapping[str, Any]:
        """Empty where the server tells nothing, as Ray Serve's own ingress does."""
        for path in ("/v2", "/v2/"):
            answer = self._client.request("GET", path)
            if answer.status == HTTPStatus.OK:
                return _document(answer)
        return {}

    def infer(
        self, inputs: Mapping[str, np.ndarray], tensors: Sequence[Input], outputs: Sequence[str]
    ) -> dict[str, Tensor]:
        """One call for all rows."""
        with self._breaker.call():
            try:
                answer = self._infer(inputs, tensors, outputs)
            except RuntimeUnavailable:
                # What comes back after it may be another server, which offers something else.
                self._binary = self._wish
                raise
            try:
                return read_answer(answer.body, answer.headers)
            except TensorError as error:
                raise InferenceError(f"The answer can not be used: {error}") from error

    def _infer(
        self, inputs: Mapping[str, np.ndarray], tensors: Sequence[Input], outputs: Sequence[str]
    ) -> Answer:
        binary = self._binary
        if binary is None:
            extensions = self.server_metadata().get("extensions")
            binary = isinstance(extensions, list) and BINARY_EXTENSION in extensions
            self._binary = binary
        body, headers = write_request(inputs, tensors, outputs, binary=binary)
        answer = self._client.request("POST", f"{self._path}/infer", body, headers)
        return self._checked(answer)

    def _checked(self, answer: Answer) -> Answer:
        """The answer, if it is one; raises RuntimeUnavailable or InferenceError by its status."""
        status = answer.status
        if status == HTTPStatus.OK:
            return answer
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise RuntimeUnavailable(
                "The server of the model answered with a redirect, which is never followed",
                retry_after=MAX_RETRY_SECONDS,
            )
        if status in _REFUSALS:
            raise RuntimeUnavailable(
                f"The server of the model refused this service (status {status})",
                retry_after=MAX_RETRY_SECONDS,
            )
        # MLServer says 400 of a model that is still loading, too.
        if status in _ABSENCES or (status == HTTPStatus.BAD_REQUEST and not self._is_ready()):
            raise RuntimeUnavailable(
                f"The server of the model does not serve it now (status {status})",
                retry_after=answer.retry_after,
            )
        raise InferenceError(_message(answer))

    def _is_ready(self) -> bool:
        return self._client.request("GET", f"{self._path}/ready").status == HTTPStatus.OK


class OpenInferenceRuntime:
    """A model on another server. Answers are checked: each output, its datatype and its rows."""

    def __init__(
        self, remote: _Remote, signature: Signature, libraries: Mapping[str, str] | None = None
    ) -> None:
        self.libraries: Mapping[str, str] = libraries or {}
        self.signature = signature
        self._remote = remote
        self._names = [output.name for output in signature.outputs]

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows in one call; see Runtime.predict. Where nobody answers, that is
        RuntimeUnavailable.
        """
        n_rows = len(next(iter(inputs.values())))
        tensors = self._remote.infer(inputs, self.signature.inputs, self._names)
        return {
            output.name: _settled(output, tensors.get(output.name), n_rows)
            for output in self.signature.outputs
        }


def load(path: Path, options: LoadOptions) -> OpenInferenceRuntime:
    """Read a document; raises LoadError.

    Where the signature was proved before, nobody is asked, so that a server that is down fails
    predictions, which are recorded, and not the model.
    """
    document = read_document(path)
    remote = _Remote(document, RemoteClient(document, options.remote))
    if options.proven is not None:
        return OpenInferenceRuntime(remote, options.proven)

    def trial(inputs: tuple[Input, ...], outputs: Sequence[str]) -> list[Told]:
        answered = remote.infer(Signature(inputs).sample(), inputs, outputs)
        return [_measured(tensor) for tensor in answered.values()]

    try:
        signature = read_signature(remote.model_metadata(), options.declared, trial)
        libraries = _libraries(remote.server_metadata())
    except InferenceError as error:
        raise LoadError(f"the server could not be asked about the model: {error}") from error
    require_usable(signature)
    return OpenInferenceRuntime(remote, signature, libraries)


def _measured(tensor: Tensor) -> Told:
    if len(tensor.array) != 1:
        raise LoadError(
            f"output '{tensor.name}' has the shape {list(tensor.array.shape)} for one row: a model "
            "must answer each row for itself"
        )
    return Told(tensor.name, tensor.datatype, (-1, *tensor.array.shape[1:]))


def _libraries(server: Mapping[str, Any]) -> dict[str, str]:
    name, version = server.get("name"), server.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name:
        return {}
    return {name[:MAX_LIBRARY_CHARACTERS]: version[:MAX_LIBRARY_CHARACTERS]}


def _document(answer: Answer) -> Mapping[str, Any]:
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise InferenceError(f"The server answered with no JSON ({error})") from error
    if not isinstance(document, dict):
        raise InferenceError("The server answered with no JSON object")
    return document


def _message(answer: Answer) -> str:
    """What the server says of its error, `{"error": ...}` in the protocol, as it may be shown."""
    try:
        told = orjson.loads(answer.body)["error"]
    except (ValueError, TypeError, KeyError):
        told = ""
    text = told if isinstance(told, str) and told else f"The server answered {answer.status}"
    return text[:MAX_MESSAGE_CHARACTERS]


# -- outputs


def _settled(output: Output, tensor: Tensor | None, n_rows: int) -> np.ndarray:
    """One output as the signature describes it; raises InferenceError where it is not so."""
    if tensor is None:
        raise InferenceError(f"The answer has no output '{output.name}'")
    array = tensor.array
    if len(array) != n_rows:
        raise InferenceError(
            f"The answer has {len(array)} rows of '{output.name}', where {n_rows} were asked for"
        )
    if output.kind == "label":
        return _indices(output, tensor)
    if tensor.datatype != output.datatype:
        raise InferenceError(
            f"The answer has {tensor.datatype} in '{output.name}', not {output.datatype}"
        )
    if len(output.shape) == 1 and array.size == n_rows:
        return array.reshape(n_rows)
    wanted = output.shape[1:]
    if array.ndim != len(output.shape) or any(
        size not in (-1, came) for size, came in zip(wanted, array.shape[1:], strict=True)
    ):
        raise InferenceError(
            f"The answer has the shape {list(array.shape)} in '{output.name}', not "
            f"{[n_rows, *wanted]}"
        )
    return array


def _indices(output: Output, tensor: Tensor) -> np.ndarray:
    """The places of the answered classes; whole numbers for classes that are texts are places."""
    values = tensor.array
    if values.size != len(values):
        raise InferenceError(f"The answer has more than one label a row in '{output.name}'")
    answered = values.reshape(-1).tolist()
    if output.datatype == "BYTES" and DTYPES[tensor.datatype].kind in "iu":
        places: dict[Any, int] = {place: place for place in range(len(output.classes))}
    else:
        places = {label: place for place, label in enumerate(output.classes)}
    try:
        return np.array([places[label] for label in answered], dtype=np.int64)
    except KeyError as error:
        raise InferenceError(
            f"The answer has a class in '{output.name}' that the model has not: {error}"
        ) from error
