"""Requests that must not be made: URLs that mislead, and names that lead to a private network."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings

from registry.webhooks.delivery import sending
from registry.webhooks.delivery.sending import Response
from registry.webhooks.tests.receiver import Receiver
from registry.webhooks.urls import InvalidURL, allowed_target, read_url

Resolve = Callable[[str, list[str]], None]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "hooks.example.com",
        "https://",
        "https://user@hooks.example.com/",
        "https://hooks.example.com:secret@10.0.0.1/",
        "https://hooks.example.com@10.0.0.1/",
        "https://hooks.example.com\\@10.0.0.1/",
        "https://hooks.example.com#@10.0.0.1/",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nX-Injected: 1",
        "https://hooks.example.com/\n",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:٨٠/",
        "https://hööks.example.com/",
        "https://hooks.example.com/ü",
        " https://hooks.example.com/",
        "https://hooks.example.com/" + "x" * 2000,
    ],
)
def test_url_that_could_mislead_is_refused(url: str) -> None:
    with pytest.raises(InvalidURL):
        read_url(url)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://Hooks.example.com", "https://hooks.example.com:443", "/"),
        ("https://hooks.example.com?a=b", "https://hooks.example.com:443", "/?a=b"),
        ("http://10.0.0.1:8080/a/b?c=d&e=%20", "http://10.0.0.1:8080", "/a/b?c=d&e=%20"),
        ("https://[2001:db8::1]:8443/in", "https://[2001:db8::1]:8443", "/in"),
    ],
)
def test_url_is_read_into_a_server_and_a_path(url: str, origin: str, path: str) -> None:
    target = read_url(url)

    assert (str(target.origin), target.path) == (origin, path)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/",
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com.evil.example/",
        "https://hooks.example.com./",
    ],
)
def test_origin_must_be_allowed_exactly(url: str, settings: LazySettings) -> None:
    settings.WEBHOOK_ORIGINS = ["https://hooks.example.com"]
    assert allowed_target("https://hooks.example.com:443/x").path == "/x"

    with pytest.raises(InvalidURL, match="WEBHOOK_ORIGINS"):
        allowed_target(url)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Let a name have these addresses, one more of them at each look-up."""
    getaddrinfo = socket.getaddrinfo

    def resolve(name: str, addresses: list[str]) -> None:
        remaining = list(addresses)

        def look_up(host: str, port: int, **options: Any) -> Any:
            if host != name:
                return getaddrinfo(host, port, **options)
            if options.get("flags", 0) & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "not a number")
            address = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return resolve


def post(url: str) -> Response:
    return sending.post(read_url(url), b"{}", {})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]"]
)
def test_loopback_is_not_called_in_any_notation(
    receiver: Receiver, settings: LazySettings, host: str
) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = False

    response = post(f"http://{host}:{receiver.port}/")

    assert response.status is None
    assert "is an address of a private network" in response.error
    assert receiver.messages == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254"])
def test_name_that_leads_to_a_private_network_is_not_called(
    receiver: Receiver, settings: LazySettings, resolve: Resolve, address: str
) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    resolve("hooks.example.com", [address])

    response = post(f"http://hooks.example.com:{receiver.port}/")

    assert response.status is None
    assert "is an address of a private network" in response.error
    assert receiver.messages == []


def test_address_that_was_checked_is_the_one_that_is_called(
    receiver: Receiver, settings: LazySettings, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: a public address for the first look-up, loopback for the next one."""
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    settings.WEBHOOK_TIMEOUT_SECONDS = 1
    resolve("hooks.example.com", ["203.0.113.7", "127.0.0.1"])
    # An address of documentation: nothing is sent there.
    connected: list[object] = []
    monkeypatch.setattr(sending, "require_public", lambda address: connected.append(address))

    post(f"http://hooks.example.com:{receiver.port}/")

    assert connected == ["203.0.113.7"]
    assert receiver.messages == []


def test_private_address_is_called_if_that_is_allowed(receiver: Receiver) -> None:
    assert post(receiver.url).status == 204


def test_body_that_never_ends_is_not_waited_for(receiver: Receiver) -> None:
    receiver.headers = {"Content-Length": "1000000000"}

    assert post(receiver.url).status == 204
    receiver.status = 500
    receiver.body = b"x" * 300
    assert post(receiver.url).status == 500
