"""An Open Inference Protocol server with two bad models.

`python -m benchmarks.shadowing.stand_in PORT`: the model `slow` takes a second for each request;
`failing` answers its first request, which its registration sends, and refuses all others.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLEEP_SECONDS = 1.0
METADATA = {
    "versions": ["1"],
    "platform": "benchmarks",
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1]}],
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    used_models: set[str] = set()

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        is_model = len(parts) == 3 and parts[1] == "models"
        self._send(200, {"name": parts[-1], **METADATA} if is_model else {"extensions": []})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = self.path.split("/")[3]
        if model == "slow":
            time.sleep(SLEEP_SECONDS)
        elif model in self.used_models:
            self._send(400, {"error": "This model fails on purpose."})
            return
        self.used_models.add(model)
        n_rows = request["inputs"][0]["shape"][0]
        output = {"name": "y", "datatype": "FP64", "shape": [n_rows], "data": [0.0] * n_rows}
        self._send(200, {"model_name": model, "outputs": [output]})

    def _send(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log: it would cost time on the measured machine."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
