"""Buckets of a real S3 server."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from registry.loading import availability
from registry.storage import files
from registry.testing.object_storage.server import BUCKET, S3Server, s3_server

# Nothing listens there.
REFUSING = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server; it takes seconds to start, so that all tests share it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty prefix, which clients of the test's process can use."""
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{secrets.token_hex(8)}"


@pytest.fixture
def in_bucket(
    bucket: str, model_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> str:
    """MODEL_STORAGE is an empty prefix, and the cache is empty; its URL."""
    settings.MODEL_STORAGE = bucket
    forget_clients(monkeypatch)
    return bucket


@pytest.fixture
def without_storage(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function from whose call on the object storage refuses connections."""

    def lose() -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", REFUSING)
        forget_clients(monkeypatch)

    return lose


def forget_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just started."""
    monkeypatch.setattr(files, "_buckets", {})
    monkeypatch.setattr(availability, "_found", {})
    monkeypatch.setattr(availability, "_problems", {})
