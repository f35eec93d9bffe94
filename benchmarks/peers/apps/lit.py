"""LitServe's server for a scikit-learn model: default settings, one processor, no access log."""

import os
import sys
from typing import Any

import joblib
import litserve
import numpy as np


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = joblib.load(os.environ["BENCHMARK_MODEL"])

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        return np.asarray(request["rows"], dtype=np.float64)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        classes: np.ndarray = self.model.predict(rows)
        return classes

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"classes": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
