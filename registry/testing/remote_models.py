"""Fixtures of remote models: a stub of their server, and runtimes that call it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from registry.runtimes.base import LoadOptions, RemoteOptions
from registry.runtimes.open_inference.runtime import OpenInferenceRuntime, load
from registry.signatures.signature import Signature
from registry.testing.remote_server import Reply, StubServer, stub_server

ROWS = np.array([[1.0, 2.0], [3.0, 4.5], [-1.0, 1.0]])


class OpenRemote(Protocol):
    def __call__(
        self,
        server: StubServer,
        declared: Mapping[str, object] | None = None,
        proven: Signature | None = None,
        secrets: Mapping[str, str] | None = None,
        **members: object,
    ) -> OpenInferenceRuntime: ...


@pytest.fixture
def server() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


@pytest.fixture
def open_remote(tmp_path: Path) -> OpenRemote:
    """Load the model of a server; `members` are of its document."""

    def open_remote(
        server: StubServer,
        declared: Mapping[str, object] | None = None,
        proven: Signature | None = None,
        secrets: Mapping[str, str] | None = None,
        **members: object,
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
def runtime(server: StubServer, open_remote: OpenRemote) -> OpenInferenceRuntime:
    return open_remote(server)


def tensor(
    name: str, datatype: str, shape: Sequence[int], data: Sequence[object] | None = None
) -> dict[str, object]:
    """A tensor of metadata, or with `data` of a response."""
    entry: dict[str, object] = {"name": name, "datatype": datatype, "shape": shape}
    return entry if data is None else entry | {"data": data}


def infer_reply(*outputs: Mapping[str, object]) -> dict[str, Reply]:
    """The `replies` of a server that responds to every infer call with these outputs."""
    body = json.dumps({"model_name": "iris", "outputs": outputs}).encode()
    return {"infer": Reply(body=body)}
