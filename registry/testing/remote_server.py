"""A stand-in for a server of the Open Inference Protocol, as slow, wrong or dead as a test asks."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from registry.open_inference.binary import LENGTH_HEADER
from registry.signatures.signature import DTYPES, Input

IRIS = {
    "name": "iris",
    "versions": ["1"],
    "platform": "tests",
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}],
    "outputs": [{"name": "sum", "datatype": "FP64", "shape": [-1, 1]}],
}

Scorer = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass
class Reply:
    """Sent as it is, instead of an answer; `drip` sends it byte by byte, that many seconds apart.
    `length` is announced in the place of the true one.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float = 0.0
    length: int | None = None


def row_sums(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    return {"sum": inputs["x"].sum(axis=1, keepdims=True)}


@dataclass
class StandIn:
    """One model on one port. What it was asked is in `requests`: (method, path, headers, body)."""

    metadata: Mapping[str, Any] = field(default_factory=lambda: dict(IRIS))
    extensions: list[str] = field(default_factory=list)
    score: Scorer = row_sums
    replies: dict[str, Reply] = field(default_factory=dict)
    """By path, or by "infer", "ready" and "metadata"."""
    delay: float = 0.0
    hang_up: bool = False
    requests: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    server: Any = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def infers(self) -> int:
        return sum(path.endswith("/infer") for _, path, _, _ in self.requests)

    def document(self, **members: Any) -> dict[str, Any]:
        return {"url": self.origin, "model": "iris", "timeout_seconds": 2, **members}

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self.server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection, as a killed process does."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server.cut()
            self.server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self.sockets: list[Any] = []
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        for connection in self.sockets:
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: cut connections are what the tests are about."""


@contextmanager
def standing_in(**members: Any) -> Iterator[StandIn]:
    server = StandIn(**members)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _handler(owner: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else Nagle and delayed acknowledgements cost 40 ms a request.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            owner.connections += 1

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, *args: Any) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            owner.requests.append((self.command, self.path, dict(self.headers), body))
            if self.path.endswith("/infer"):
                time.sleep(owner.delay)
                if owner.hang_up:
                    self.close_connection = True
                    return
            self._send(self._reply(body))

        def _reply(self, body: bytes) -> Reply:
            last = self.path.rsplit("/", 1)[-1]
            fixed = owner.replies.get(self.path) or owner.replies.get(last)
            if fixed is not None:
                return fixed
            if last == "infer":
                return _scored(owner.score, body, self.headers)
            if last == "ready":
                return Reply()
            if self.path == "/v2":
                told = {"name": "stand-in", "version": "9", "extensions": owner.extensions}
                return Reply(body=json.dumps(told).encode())
            return owner.replies.get("metadata") or Reply(body=json.dumps(owner.metadata).encode())

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
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

    return Handler


def _scored(score: Scorer, body: bytes, headers: Any) -> Reply:
    """Answer as a real server does: binary in, binary out where it is asked for."""
    length = headers.get(LENGTH_HEADER)
    head, raw = (body[: int(length)], body[int(length) :]) if length else (body, b"")
    request = json.loads(head)
    inputs = {}
    for told in request["inputs"]:
        dtype = DTYPES[told["datatype"]]
        if size := told.get("parameters", {}).get("binary_data_size"):
            part, raw = raw[:size], raw[size:]
            values: Any = _texts(part) if dtype.kind == "O" else np.frombuffer(part, dtype)
        else:
            values = [np.nan if value is None else value for value in told["data"]]
        inputs[told["name"]] = np.array(values, dtype).reshape(told["shape"])
    wanted = {told["name"]: told.get("parameters", {}) for told in request.get("outputs", [])}
    outputs, parts = [], []
    for name, array in score(inputs).items():
        if wanted and name not in wanted:
            continue
        is_text = array.dtype.kind in "OU"
        datatype = "BYTES" if is_text else Input(name, _name(array)).datatype
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if wanted.get(name, {}).get("binary_data"):
            parts.append(_packed(array) if is_text else array.tobytes())
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            flat = array.reshape(-1).tolist()
            output["data"] = [None if value != value else value for value in flat]
        outputs.append(output)
    answer = json.dumps({"model_name": "iris", "outputs": outputs}).encode()
    told_length = {LENGTH_HEADER: str(len(answer))} if parts else {}
    return Reply(body=b"".join([answer, *parts]), headers=told_length)


def _name(array: np.ndarray) -> str:
    return next(name for name, dtype in DTYPES.items() if dtype == array.dtype)


def _packed(array: np.ndarray) -> bytes:
    return b"".join(
        len(text.encode()).to_bytes(4, "little") + text.encode() for text in array.reshape(-1)
    )


def _texts(raw: bytes) -> list[str]:
    texts = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        texts.append(raw[4:end].decode())
        raw = raw[end:]
    return texts
