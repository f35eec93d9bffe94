from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework.test import APIClient

from mlapi.proxies.addresses import client_address, parse_address

TOKEN = "/api/v1/auth/token/"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("198.51.100.1:5678", "198.51.100.1"),
        (" 198.51.100.1:5678 ", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("[fe80::1%eth0]:443", "fe80::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:443", "198.51.100.1"),
        ("unknown", None),
        ("_hidden", None),
        ("_hidden:80", None),
        ("", None),
        ("198.51.100.1:", None),
        ("198.51.100.1:port", None),
        ("[198.51.100.1", None),
        ("[]:80", None),
        ("1.2.3:4", None),
        ("example.com:80", None),
    ],
)
def test_an_entry_gives_the_address_in_its_canonical_form(entry: str, expected: str | None) -> None:
    assert parse_address(entry) == expected


@pytest.mark.parametrize(
    ("count", "forwarded", "expected"),
    [
        (0, "198.51.100.1", "192.0.2.9"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.7, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.7, 198.51.100.1", "203.0.113.7"),
        (2, "203.0.113.7:1, [2001:db8::1]:2", "203.0.113.7"),
        (2, "198.51.100.1", "192.0.2.9"),
        (1, "unknown", "192.0.2.9"),
        (1, "", "192.0.2.9"),
    ],
)
def test_client_address_trusts_the_configured_number_of_proxies(
    settings: Any, count: int, forwarded: str, expected: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = count
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.9", HTTP_X_FORWARDED_FOR=forwarded)

    assert client_address(request) == expected


def test_client_on_a_unix_socket_has_no_address() -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) is None


@pytest.mark.parametrize(
    ("attacker", "victim"),
    [("198.51.100.1:{port}", "203.0.113.7:{port}"), ("[2001:db8::1]:{port}", "[2001:db8::2]")],
)
def test_a_lock_out_behind_a_proxy_that_reports_ports_is_of_one_address(
    client: APIClient, user: Any, settings: Any, attacker: str, victim: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1

    def login(address: str, password: str) -> int:
        credentials = {"username": user.username, "password": password}
        response = client.post(TOKEN, credentials, HTTP_X_FORWARDED_FOR=address)
        return int(response.status_code)

    statuses = [login(attacker.format(port=port), "wrong") for port in range(5000, 5005)]

    assert statuses[-1] == 429
    assert login(victim.format(port=5000), "wrong") == 401
