"""What the tests of remote models share: a stand-in for the server, and its model opened."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.runtimes.base import LoadOptions, RemoteOptions
from registry.runtimes.open_inference.runtime import OpenInferenceRuntime, load
from registry.signatures.signature import Signature
from registry.testing.remote_server import Reply, StandIn, standing_in

ROWS = np.array([[1.0, 2.0], [3.0, 4.5], [-1.0, 1.0]])


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as server:
        yield server


@pytest.fixture
def open_remote(tmp_path: Path) -> Callable[..., OpenInferenceRuntime]:
    def open_remote(
        server: StandIn,
        declared: dict[str, Any] | None = None,
        proven: Signature | None = None,
        secrets: Mapping[str, str] | None = None,
        **members: Any,
    ) -> OpenInferenceRuntime:
        path = tmp_path / "remote.json"
        path.write_text(json.dumps(server.document(**members)))
        options = LoadOptions(
            remote=RemoteOptions(frozenset({server.origin}), secrets or {}),
            declared=None if declared is None else Signature.from_json(declared),
            proven=proven,
        )
        return load(path, options)

    return open_remote


@pytest.fixture
def runtime(server: StandIn, open_remote: Any) -> OpenInferenceRuntime:
    return open_remote(server)


def tensor(name: str, datatype: str, shape: list[int], data: Any = None) -> dict[str, Any]:
    told = {"name": name, "datatype": datatype, "shape": shape}
    return told if data is None else told | {"data": data}


def answering(*outputs: dict[str, Any]) -> dict[str, Reply]:
    body = json.dumps({"model_name": "iris", "outputs": list(outputs)}).encode()
    return {"infer": Reply(body=body)}
