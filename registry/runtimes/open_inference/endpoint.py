"""The calls of the Open Inference Protocol to one remote model. No Django here."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote

import numpy as np
import orjson

from registry.open_inference.binary import TensorError
from registry.open_inference.messages import read_response, write_request
from registry.runtimes.base import InferenceError, RuntimeUnavailable
from registry.runtimes.open_inference.breaker import CircuitBreaker
from registry.runtimes.open_inference.client import MAX_RETRY_SECONDS, RemoteClient, Response
from registry.runtimes.open_inference.document import RemoteModel
from registry.signatures.signature import Input

BREAKER_FAILURES = 5
BREAKER_SECONDS = 5.0
BINARY_EXTENSION = "binary_tensor_data"
MAX_MESSAGE_CHARACTERS = 500
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_UNAVAILABLE = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class ModelEndpoint:
    """One model on a remote server, shared between threads.

    Every method raises InferenceError, or its subclass RuntimeUnavailable if the server does not
    respond or does not serve the model.
    """

    def __init__(self, remote: RemoteModel, client: RemoteClient) -> None:
        version = f"/versions/{quote(remote.version, safe='')}" if remote.version else ""
        self._path = f"/v2/models/{quote(remote.model, safe='')}{version}"
        self._client = client
        self._configured_binary = remote.binary
        # None until the server has been asked whether it supports binary data.
        self._binary: bool | None = remote.binary
        self._breaker = CircuitBreaker(limit=BREAKER_FAILURES, open_seconds=BREAKER_SECONDS)

    def model_metadata(self) -> Mapping[str, object]:
        return _json_object(self._require_success(self._client.request("GET", self._path)))

    def server_metadata(self, give_up_at: float | None = None) -> Mapping[str, object]:
        """Empty if the server has none, such as Ray Serve's own ingress."""
        for path in ("/v2", "/v2/"):
            response = self._client.request("GET", path, give_up_at=give_up_at)
            if response.status == HTTPStatus.OK:
                return _json_object(response)
        return {}

    def infer(
        self,
        arrays: Mapping[str, np.ndarray],
        inputs: Sequence[Input],
        outputs: Sequence[str],
        *,
        give_up_at: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Score all rows in one call; without names of `outputs` the response has all of them.

        Raises DeadlineExceeded at the monotonic time `give_up_at`.
        """
        with self._breaker.call():
            try:
                response = self._infer(arrays, inputs, outputs, give_up_at)
            except RuntimeUnavailable:
                # The server may be replaced by one with other extensions, so ask it again.
                self._binary = self._configured_binary
                raise
            try:
                return read_response(response.body, response.headers)
            except TensorError as error:
                raise InferenceError(
                    f"The response of the model's server is invalid: {error}"
                ) from error

    def _infer(
        self,
        arrays: Mapping[str, np.ndarray],
        inputs: Sequence[Input],
        outputs: Sequence[str],
        give_up_at: float | None,
    ) -> Response:
        binary = self._binary
        if binary is None:
            extensions = self.server_metadata(give_up_at).get("extensions")
            binary = isinstance(extensions, list) and BINARY_EXTENSION in extensions
            self._binary = binary
        body, headers = write_request(arrays, inputs, outputs, binary=binary)
        response = self._client.request("POST", f"{self._path}/infer", body, headers, give_up_at)
        return self._require_success(response, give_up_at)

    def _require_success(self, response: Response, give_up_at: float | None = None) -> Response:
        status = response.status
        if status == HTTPStatus.OK:
            return response
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise RuntimeUnavailable(
                "The model's server responded with a redirect, which mlapi never follows",
                retry_after=MAX_RETRY_SECONDS,
            )
        if status in _REFUSED:
            raise RuntimeUnavailable(
                f"The model's server denied access to this service (status {status})",
                retry_after=MAX_RETRY_SECONDS,
            )
        # MLServer responds 400 while a model is still loading.
        if status in _UNAVAILABLE or (
            status == HTTPStatus.BAD_REQUEST and not self._is_ready(give_up_at)
        ):
            raise RuntimeUnavailable(
                f"The model's server does not serve the model now (status {status})",
                retry_after=response.retry_after,
            )
        raise InferenceError(_error_message(response))

    def _is_ready(self, give_up_at: float | None) -> bool:
        response = self._client.request("GET", f"{self._path}/ready", give_up_at=give_up_at)
        return response.status == HTTPStatus.OK


def _json_object(response: Response) -> Mapping[str, object]:
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise InferenceError(f"The model's server did not respond with JSON ({error})") from error
    if not isinstance(document, dict):
        raise InferenceError("The model's server did not respond with a JSON object")
    return document


def _error_message(response: Response) -> str:
    """The server's own message, `{"error": ...}` in the protocol, cut to a bounded length."""
    try:
        message = orjson.loads(response.body)["error"]
    except (ValueError, TypeError, KeyError):
        message = None
    if not isinstance(message, str) or not message:
        message = f"The model's server responded with status {response.status}"
    return message[:MAX_MESSAGE_CHARACTERS]
