"""Which addresses a webhook may be sent to, in every notation."""

import pytest

from registry.http_client.addresses import AddressRefused, require_public, require_unicast

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"]
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "255.255.255.255",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:7f00:1",
    "2002:7f00:1::",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a00:1",
]
NOT_OF_A_SERVER = [
    "0.0.0.0",  # noqa: S104
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "::ffff:224.0.0.1",
]


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::93.184.215.14"])
def test_public_address_is_accepted(address: str) -> None:
    require_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_refused_unless_it_is_allowed(address: str) -> None:
    with pytest.raises(AddressRefused, match=r"private network"):
        require_public(address)
    require_unicast(address)


@pytest.mark.parametrize("address", NOT_OF_A_SERVER)
def test_address_of_no_server_is_always_refused(address: str) -> None:
    for require in (require_public, require_unicast):
        with pytest.raises(AddressRefused, match=r"not the address of a server"):
            require(address)
