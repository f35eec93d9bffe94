"""A remote server behind TLS: verified, and held to the same deadline."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.runtimes.base import DeadlineExceeded, LoadError
from registry.testing.remote_models import ROWS, OpenRemote
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_server import Reply, StubServer, stub_server

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make a certificate"
)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a self-signed certificate of "localhost" and its key."""
    path = tmp_path / "certificate.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
            *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            *["-keyout", str(path), "-out", str(tmp_path / "public.pem")],
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + (tmp_path / "public.pem").read_bytes())
    return path


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    monkeypatch.setattr(
        StubServer, "origin", property(lambda stub: f"https://localhost:{stub.port}")
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with stub_server() as server:
        assert server._http is not None
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
        yield server


def test_a_server_with_a_trusted_certificate_is_called(
    server: StubServer,
    open_remote: OpenRemote,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    runtime = open_remote(server)

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]
    # The metadata and the predictions share one connection.
    assert server.connections == 1

    server.replies["infer"] = Reply(header_drip=(90, 0.4))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        runtime.predict_within({"x": ROWS}, 0.5)
    assert time.monotonic() - started < 15


def test_a_server_with_another_certificate_is_not_called(
    server: StubServer, open_remote: OpenRemote
) -> None:
    with pytest.raises(LoadError, match="cannot read the model's metadata"):
        open_remote(server)

    assert not server.requests
