"""Remote servers that stall, refuse, die and come back."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from registry.http_client import timed_connections
from registry.open_inference.binary import LENGTH_HEADER
from registry.runtimes.base import DeadlineExceeded, LoadError, RuntimeUnavailable
from registry.runtimes.open_inference import client, endpoint
from registry.runtimes.open_inference.runtime import OpenInferenceRuntime
from registry.testing.remote_models import ROWS, OpenRemote
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import runtime as runtime
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server


@pytest.mark.parametrize("status", [404, 408, 429, 502, 503, 504])
def test_an_overloaded_server_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime, status: int
) -> None:
    server.replies["infer"] = Reply(status, headers={"Retry-After": "7"})

    with pytest.raises(RuntimeUnavailable, match=f"status {status}") as caught:
        runtime.predict({"x": ROWS})

    assert caught.value.retry_after == 7


@pytest.mark.parametrize(("value", "seconds"), [("99999", 60), ("0", 1), ("-3", 1), ("soon", 1)])
def test_retry_after_is_bounded(
    server: StubServer, runtime: OpenInferenceRuntime, value: str, seconds: int
) -> None:
    server.replies["infer"] = Reply(503, headers={"Retry-After": value})

    with pytest.raises(RuntimeUnavailable) as caught:
        runtime.predict({"x": ROWS})

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_denies_access_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime, status: int
) -> None:
    server.replies["infer"] = Reply(status)

    with pytest.raises(RuntimeUnavailable, match="denied access to this service"):
        runtime.predict({"x": ROWS})


def test_a_loading_model_is_unavailable(server: StubServer, runtime: OpenInferenceRuntime) -> None:
    server.replies["infer"] = Reply(400, b'{"error": "Model iris is not ready yet."}')
    server.replies["ready"] = Reply(400)

    with pytest.raises(RuntimeUnavailable, match="does not serve the model now"):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: StubServer, runtime: OpenInferenceRuntime, status: int
) -> None:
    with stub_server() as elsewhere:
        location = f"{elsewhere.origin}/v2/models/iris/infer"
        server.replies["infer"] = Reply(status, headers={"Location": location})

        with pytest.raises(RuntimeUnavailable, match="redirect, which mlapi never follows"):
            runtime.predict({"x": ROWS})

        assert elsewhere.connections == 0


def test_a_redirect_for_the_metadata_is_not_followed(open_remote: OpenRemote) -> None:
    with stub_server() as elsewhere, stub_server() as server:
        location = f"{elsewhere.origin}/v2/models/iris"
        server.replies["metadata"] = Reply(302, headers={"Location": location})

        with pytest.raises(LoadError, match="never follows"):
            open_remote(server)

        assert elsewhere.connections == 0


def test_a_proxy_of_the_environment_is_not_used(
    server: StubServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)

        open_remote(server).predict({"x": ROWS})

        assert proxy.connections == 0


def test_a_slow_server_is_unavailable_after_the_timeout(
    server: StubServer, open_remote: OpenRemote
) -> None:
    runtime = open_remote(server, timeout_seconds=2)
    server.delay = 20
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 15
    # No retry, since the server may have scored the rows.
    assert server.n_infer_calls == 1


def test_a_response_in_small_pieces_cannot_exceed_the_timeout(
    server: StubServer, open_remote: OpenRemote
) -> None:
    runtime = open_remote(server, timeout_seconds=2)
    # Each piece comes within the timeout, and all of them in 100 s.
    server.replies["infer"] = Reply(body=b" " * 1000, drip=0.1)
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 50


def test_headers_in_small_pieces_cannot_exceed_the_timeout(
    server: StubServer, open_remote: OpenRemote
) -> None:
    runtime = open_remote(server, timeout_seconds=1)
    # urllib3 accepts 100 headers, and each comes within the timeout.
    server.replies["infer"] = Reply(header_drip=(90, 0.4))
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 15


def test_a_server_is_found_by_its_name(
    server: StubServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        StubServer, "origin", property(lambda stub: f"http://localhost:{stub.port}")
    )

    assert open_remote(server).predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_name_server_that_does_not_respond_cannot_exceed_the_timeout(
    server: StubServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven = open_remote(server).signature
    monkeypatch.setattr(StubServer, "origin", property(lambda stub: f"http://a.test:{stub.port}"))
    runtime = open_remote(server, proven=proven, timeout_seconds=1)
    look_up, is_over = socket.getaddrinfo, threading.Event()

    def slow_look_up(*args: Any, **options: Any) -> Any:
        if not options.get("flags"):
            is_over.wait(30)
        return look_up(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow_look_up)
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 15
    is_over.set()


def test_a_name_that_no_name_server_takes_is_unavailable(
    server: StubServer, open_remote: OpenRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven = open_remote(server).signature
    origin = f"http://{'a' * 70}.test:{server.port}"
    monkeypatch.setattr(StubServer, "origin", property(lambda stub: origin))
    runtime = open_remote(server, proven=proven)

    with pytest.raises(RuntimeUnavailable):
        runtime.predict({"x": ROWS})


def test_a_process_out_of_threads_keeps_room_for_later_look_ups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)

    with timed_connections.deadline_at(time.monotonic() + 60):
        for _ in range(timed_connections.MAX_LOOKUPS + 1):
            with pytest.raises(OSError, match="can't start new thread"):
                timed_connections._look_up("a.test", 80)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b" " * 1000, drip=0.1),
        Reply(header_drip=(90, 0.4)),
    ],
    ids=["body", "headers"],
)
def test_the_callers_deadline_ends_a_call_sooner(
    server: StubServer, open_remote: OpenRemote, reply: Reply
) -> None:
    runtime = open_remote(server, timeout_seconds=60)
    server.replies["infer"] = reply
    started = time.monotonic()

    with pytest.raises(DeadlineExceeded):
        runtime.predict_within({"x": ROWS}, 0.5)

    assert time.monotonic() - started < 15
    # The rest of that response is not taken for the next one.
    server.replies.clear()
    assert runtime.predict_within({"x": ROWS}, 60)["sum"].tolist() == [3.0, 7.5, 0.0]


def test_impatient_callers_do_not_make_a_server_count_as_down(
    server: StubServer, open_remote: OpenRemote
) -> None:
    runtime = open_remote(server, timeout_seconds=60)
    server.delay = 0.5
    for _ in range(endpoint.BREAKER_FAILURES + 1):
        with pytest.raises(DeadlineExceeded):
            runtime.predict_within({"x": ROWS}, 0.05)

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_truncated_response_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(body=b'{"outputs": [', length=500)

    with pytest.raises(RuntimeUnavailable, match="the connection broke"):
        runtime.predict({"x": ROWS})

    assert server.n_infer_calls == 1


def test_a_sent_call_is_not_retried(server: StubServer, runtime: OpenInferenceRuntime) -> None:
    server.hang_up = True

    with pytest.raises(RuntimeUnavailable, match="the connection broke"):
        runtime.predict({"x": ROWS})

    assert server.n_infer_calls == 1


def test_connections_are_kept(server: StubServer, runtime: OpenInferenceRuntime) -> None:
    for _ in range(5):
        runtime.predict({"x": ROWS})

    assert server.connections == 1


def test_connections_are_bounded(server: StubServer, runtime: OpenInferenceRuntime) -> None:
    server.delay = 0.02

    with ThreadPoolExecutor(32) as pool:
        outputs = list(pool.map(lambda _: runtime.predict({"x": ROWS}), range(32)))

    assert len(outputs) == 32
    assert server.connections <= client.MAX_CONNECTIONS


def test_a_kept_connection_that_the_server_closed_is_replaced(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    runtime.predict({"x": ROWS})
    server.stop()
    server.start()

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_refused_connection_is_retried_once(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.5)
    restart = threading.Timer(0.2, server.start)
    restart.start()

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]
    restart.join()


def test_a_dead_server_is_not_called_until_a_trial_succeeds(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime._endpoint._breaker, "_open_seconds", 0.3)
    server.stop()
    for _ in range(endpoint.BREAKER_FAILURES):
        with pytest.raises(RuntimeUnavailable, match="no connection"):
            runtime.predict({"x": ROWS})

    with pytest.raises(RuntimeUnavailable, match="failed repeatedly") as caught:
        runtime.predict({"x": ROWS})
    assert caught.value.retry_after == 1
    server.start()
    with pytest.raises(RuntimeUnavailable, match="failed repeatedly"):
        runtime.predict({"x": ROWS})
    time.sleep(0.35)

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_replaced_server_is_asked_for_its_extensions(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    runtime.predict({"x": ROWS})
    server.hang_up = True
    with pytest.raises(RuntimeUnavailable):
        runtime.predict({"x": ROWS})
    server.hang_up, server.extensions = False, ["binary_tensor_data"]

    runtime.predict({"x": ROWS})

    assert LENGTH_HEADER in server.requests[-1].headers
