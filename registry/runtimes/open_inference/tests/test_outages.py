"""Servers that stall, refuse, die and come back."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from registry.open_inference.binary import LENGTH_HEADER
from registry.runtimes.base import LoadError, RuntimeUnavailable
from registry.runtimes.open_inference import client
from registry.runtimes.open_inference import runtime as remote_runtime
from registry.runtimes.open_inference.runtime import OpenInferenceRuntime
from registry.testing.remote_models import ROWS
from registry.testing.remote_models import open_remote as open_remote
from registry.testing.remote_models import runtime as runtime
from registry.testing.remote_models import server as server
from registry.testing.remote_server import Reply, StubServer, stub_server


@pytest.mark.parametrize("status", [404, 408, 429, 502, 503, 504])
def test_a_server_that_has_no_time_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime, status: int
) -> None:
    server.replies["infer"] = Reply(status, headers={"Retry-After": "7"})

    with pytest.raises(RuntimeUnavailable, match=f"status {status}") as caught:
        runtime.predict({"x": ROWS})

    assert caught.value.retry_after == 7


@pytest.mark.parametrize(("told", "seconds"), [("99999", 60), ("0", 1), ("-3", 1), ("soon", 1)])
def test_how_long_to_wait_is_bounded(
    server: StubServer, runtime: OpenInferenceRuntime, told: str, seconds: int
) -> None:
    server.replies["infer"] = Reply(503, headers={"Retry-After": told})

    with pytest.raises(RuntimeUnavailable) as caught:
        runtime.predict({"x": ROWS})

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_us_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime, status: int
) -> None:
    server.replies["infer"] = Reply(status)

    with pytest.raises(RuntimeUnavailable, match="refused this service"):
        runtime.predict({"x": ROWS})


def test_a_model_that_still_loads_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(400, b'{"error": "Model iris is not ready yet."}')
    server.replies["ready"] = Reply(400)

    with pytest.raises(RuntimeUnavailable, match="does not serve it now"):
        runtime.predict({"x": ROWS})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: StubServer, runtime: OpenInferenceRuntime, status: int
) -> None:
    with stub_server() as elsewhere:
        location = f"{elsewhere.origin}/v2/models/iris/infer"
        server.replies["infer"] = Reply(status, headers={"Location": location})

        with pytest.raises(RuntimeUnavailable, match="redirect, which is never followed"):
            runtime.predict({"x": ROWS})

        assert elsewhere.connections == 0


def test_a_redirect_of_the_metadata_is_not_followed(open_remote: Any) -> None:
    with stub_server() as elsewhere, stub_server() as server:
        location = f"{elsewhere.origin}/v2/models/iris"
        server.replies["metadata"] = Reply(302, headers={"Location": location})

        with pytest.raises(LoadError, match="never followed"):
            open_remote(server)

        assert elsewhere.connections == 0


def test_a_proxy_of_the_environment_is_not_asked(
    server: StubServer, open_remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)

        open_remote(server).predict({"x": ROWS})

        assert proxy.connections == 0


def test_a_slow_server_is_unavailable_in_time(server: StubServer, open_remote: Any) -> None:
    runtime = open_remote(server, timeout_seconds=0.3)
    server.delay = 1.0
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 0.9
    # It may have scored: not asked twice.
    assert server.n_infer_calls == 1


def test_an_answer_that_drips_is_cut_off(server: StubServer, open_remote: Any) -> None:
    runtime = open_remote(server, timeout_seconds=0.3)
    server.replies["infer"] = Reply(body=b" " * 1000, drip=0.05)
    started = time.monotonic()

    with pytest.raises(RuntimeUnavailable, match="timeout"):
        runtime.predict({"x": ROWS})

    assert time.monotonic() - started < 0.9


def test_an_answer_that_breaks_off_is_unavailable(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    server.replies["infer"] = Reply(body=b'{"outputs": [', length=500)

    with pytest.raises(RuntimeUnavailable, match="the connection broke"):
        runtime.predict({"x": ROWS})

    assert server.n_infer_calls == 1


def test_a_call_that_was_sent_is_not_sent_again(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    server.hang_up = True

    with pytest.raises(RuntimeUnavailable, match="the connection broke"):
        runtime.predict({"x": ROWS})

    assert server.n_infer_calls == 1


def test_connections_are_kept(server: StubServer, runtime: OpenInferenceRuntime) -> None:
    for _ in range(5):
        runtime.predict({"x": ROWS})

    assert server.connections == 1


def test_connections_are_bounded(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.delay = 0.02

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: runtime.predict({"x": ROWS}), range(32)))

    assert len(answers) == 32
    assert server.connections <= client.MAX_CONNECTIONS


def test_a_kept_connection_that_was_closed_meanwhile_costs_nobody_an_error(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    runtime.predict({"x": ROWS})
    server.stop()
    server.start()

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_a_refused_connection_is_tried_once_more(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.5)
    comeback = threading.Timer(0.2, server.start)
    comeback.start()

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]
    comeback.join()


def test_a_dead_server_is_left_alone_until_a_trial_succeeds(
    server: StubServer, runtime: OpenInferenceRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime._remote._breaker, "_open_seconds", 0.3)
    server.stop()
    for _ in range(remote_runtime.BREAKER_FAILURES):
        with pytest.raises(RuntimeUnavailable, match="no connection"):
            runtime.predict({"x": ROWS})

    with pytest.raises(RuntimeUnavailable, match="left alone") as caught:
        runtime.predict({"x": ROWS})
    assert caught.value.retry_after == 1
    server.start()
    with pytest.raises(RuntimeUnavailable, match="left alone"):
        runtime.predict({"x": ROWS})
    time.sleep(0.35)

    assert runtime.predict({"x": ROWS})["sum"].tolist() == [3.0, 7.5, 0.0]


def test_another_server_in_its_place_is_asked_what_it_offers(
    server: StubServer, runtime: OpenInferenceRuntime
) -> None:
    runtime.predict({"x": ROWS})
    server.hang_up = True
    with pytest.raises(RuntimeUnavailable):
        runtime.predict({"x": ROWS})
    server.hang_up, server.extensions = False, ["binary_tensor_data"]

    runtime.predict({"x": ROWS})

    assert LENGTH_HEADER in server.requests[-1][2]
