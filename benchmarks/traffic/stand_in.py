"""An Open Inference Protocol server with models that turn bad.

`python -m benchmarks.traffic.stand_in PORT`: `hangs` never answers, `drips` sends its headers one
byte at a time. Each behaves well for an input whose first value is 0, as those of a registration
are: a registered model can turn bad at any time.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANG_SECONDS = 600
DRIP_SECONDS = 0.2
BAD_INPUT = 666.0
METADATA = {
    "versions": ["1"],
    "platform": "benchmarks",
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1]}],
}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # 64 callers connect at once.
    request_queue_size = 256


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        is_model = len(parts) == 3 and parts[1] == "models"
        self._send({"name": parts[-1], **METADATA} if is_model else {"extensions": []})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = self.path.split("/")[3]
        is_bad = BAD_INPUT in _numbers(request["inputs"][0]["data"])
        if is_bad and model == "hangs":
            time.sleep(HANG_SECONDS)
        elif is_bad and model == "drips":
            self._drip()
        n_rows = request["inputs"][0]["shape"][0]
        output = {"name": "y", "datatype": "FP64", "shape": [n_rows], "data": [0.0] * n_rows}
        self._send({"model_name": model, "outputs": [output]})

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(int(HANG_SECONDS / DRIP_SECONDS)):
            self.wfile.write(b"x")
            time.sleep(DRIP_SECONDS)

    def _send(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log: it would cost time on the measured machine."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            # The service gave up, as it should.
            self.close_connection = True


def _numbers(data: object) -> list[float]:
    """The elements of a tensor, which a request writes flat or nested."""
    if isinstance(data, list):
        return [number for element in data for number in _numbers(element)]
    return [float(data)] if isinstance(data, int | float) else []


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
