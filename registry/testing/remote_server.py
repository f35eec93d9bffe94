"""A stub of a server that speaks the Open Inference Protocol, with faults on demand.

It has its own small codec, so that an error in `registry.open_inference` cannot cancel itself out.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any, NamedTuple

import numpy as np

from registry.open_inference.binary import LENGTH_HEADER
from registry.signatures.signature import DATATYPES, DTYPES

IRIS: Mapping[str, object] = {
    "name": "iris",
    "versions": ["1"],
    "platform": "tests",
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}],
    "outputs": [{"name": "sum", "datatype": "FP64", "shape": [-1, 1]}],
}

Arrays = Mapping[str, np.ndarray]


@dataclass
class Reply:
    """A fixed response.

    `drip` seconds pass before each byte of the body, and `header_drip` before each of as many
    headers. `length` replaces the true Content-Length.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float = 0.0
    header_drip: tuple[int, float] = (0, 0.0)
    length: int | None = None


class ReceivedRequest(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def row_sums(inputs: Arrays) -> Arrays:
    return {"sum": inputs["x"].sum(axis=1, keepdims=True)}


@dataclass
class StubServer:
    """One model on one port of loopback."""

    metadata: Mapping[str, object] = field(default_factory=lambda: dict(IRIS))
    extensions: list[str] = field(default_factory=list)
    score: Callable[[Arrays], Arrays] = row_sums
    replies: dict[str, Reply] = field(default_factory=dict)
    """Sent instead of the usual responses, by path or by "infer", "ready" and "metadata"."""
    delay: float = 0.0
    """Seconds before the response to an infer call."""
    hang_up: bool = False
    """Whether to close the connection instead of responding to an infer call."""
    requests: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _http: "_HTTPServer | None" = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def n_infer_calls(self) -> int:
        return sum(request.path.endswith("/infer") for request in self.requests)

    def document(self, **members: object) -> dict[str, object]:
        """The document of this model, as mlapi registers it."""
        return {"url": self.origin, "model": "iris", "timeout_seconds": 2, **members}

    def start(self) -> None:
        """Listen, after a stop on the same port as before."""
        self._http = _HTTPServer(self)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and break every connection, like a killed process."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http.break_connections()
            self._http = None


@contextmanager
def stub_server(**members: Any) -> Iterator[StubServer]:
    """A running StubServer with these members."""
    server = StubServer(**members)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, stub: StubServer) -> None:
        self.stub = stub
        self._sockets: list[Any] = []
        super().__init__(("127.0.0.1", stub.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.append(request)
        super().process_request(request, client_address)

    def break_connections(self) -> None:
        for connection in self._sockets:
            self.shutdown_request(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm and delayed acknowledgements would cost 40 ms per request.
    disable_nagle_algorithm = True

    def __init__(self, request: socket.socket, client_address: object, server: BaseServer) -> None:
        assert isinstance(server, _HTTPServer)
        self._stub = server.stub
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        super().setup()
        self._stub.connections += 1

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = ReceivedRequest(self.command, self.path, dict(self.headers), body)
        self._stub.requests.append(request)
        if self.path.endswith("/infer"):
            time.sleep(self._stub.delay)
            if self._stub.hang_up:
                self.close_connection = True
                return
        self._send(self._reply(request))

    def _reply(self, request: ReceivedRequest) -> Reply:
        stub = self._stub
        name = request.path.rsplit("/", 1)[-1]
        fixed = stub.replies.get(request.path) or stub.replies.get(name)
        if fixed is not None:
            return fixed
        if name == "infer":
            return _scored(stub.score, request)
        if name == "ready":
            return Reply()
        if request.path == "/v2":
            server = {"name": "stub", "version": "9", "extensions": stub.extensions}
            return Reply(body=json.dumps(server).encode())
        return stub.replies.get("metadata") or Reply(body=json.dumps(stub.metadata).encode())

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        count, seconds = reply.header_drip
        for i in range(count):
            self.send_header(f"X-Drip-{i}", "x")
            self.flush_headers()
            time.sleep(seconds)
        length = len(reply.body) if reply.length is None else reply.length
        if "Transfer-Encoding" not in reply.headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if reply.length is not None:
            self.close_connection = True
        if not reply.drip:
            self.wfile.write(reply.body)
            return
        for i in range(len(reply.body)):
            self.wfile.write(reply.body[i : i + 1])
            time.sleep(reply.drip)


# -- inference


def _scored(score: Callable[[Arrays], Arrays], request: ReceivedRequest) -> Reply:
    """The response of a real server, with an output in binary data if the request asks for it."""
    length = request.headers.get(LENGTH_HEADER)
    size = len(request.body) if length is None else int(length)
    document, raw = json.loads(request.body[:size]), request.body[size:]
    inputs: dict[str, np.ndarray] = {}
    for item in document["inputs"]:
        part_size = item.get("parameters", {}).get("binary_data_size", 0)
        inputs[item["name"]] = _decode(item, raw[:part_size])
        raw = raw[part_size:]
    requested = {item["name"]: item.get("parameters", {}) for item in document.get("outputs", [])}
    outputs: list[dict[str, object]] = []
    parts: list[bytes] = []
    for name, array in score(inputs).items():
        if requested and name not in requested:
            continue
        output: dict[str, object] = {
            "name": name,
            "datatype": _datatype(array),
            "shape": list(array.shape),
        }
        if requested.get(name, {}).get("binary_data"):
            parts.append(_to_bytes(array))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            flat = array.reshape(-1).tolist()
            output["data"] = [None if value != value else value for value in flat]
        outputs.append(output)
    head = json.dumps({"model_name": "iris", "outputs": outputs}).encode()
    headers = {LENGTH_HEADER: str(len(head))} if parts else {}
    return Reply(body=b"".join([head, *parts]), headers=headers)


def _decode(item: Mapping[str, Any], part: bytes) -> np.ndarray:
    dtype = DTYPES[item["datatype"]]
    values: Sequence[object] | np.ndarray
    if not part:
        values = [np.nan if value is None else value for value in item["data"]]
    elif dtype.kind == "O":
        values = _texts(part)
    else:
        values = np.frombuffer(part, dtype)
    return np.array(values, dtype).reshape(item["shape"])


def _datatype(array: np.ndarray) -> str:
    return "BYTES" if array.dtype.kind in "OU" else DATATYPES[array.dtype]


def _to_bytes(array: np.ndarray) -> bytes:
    if array.dtype.kind not in "OU":
        return array.tobytes()
    texts = [text.encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _texts(raw: bytes) -> list[str]:
    texts: list[str] = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        texts.append(raw[4:end].decode())
        raw = raw[end:]
    return texts
