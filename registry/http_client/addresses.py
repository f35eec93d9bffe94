"""Which IP addresses belong to the public internet. No Django here."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

# The prefixes of NAT64 (RFC 6052, RFC 8215): the last four bytes are the address of the server.
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class AddressRefused(OSError):
    """The address must not be connected to. The message names it."""


def require_unicast(address: str) -> None:
    """Raise AddressRefused unless the address belongs to one server, private or not."""
    for part in _embedded(address):
        if part.is_multicast or part.is_unspecified:
            raise AddressRefused(f"{address} is not the address of a server")


def require_public(address: str) -> None:
    """Raise AddressRefused unless the address belongs to one server on the public internet.

    Loopback, private and link-local addresses are refused, such as a cloud's metadata service, and
    so are IPv6 addresses through which an IPv4 address like that is reached.
    """
    require_unicast(address)
    for part in _embedded(address):
        # Not every version of Python counts the site-local addresses as private.
        if not part.is_global or (isinstance(part, IPv6Address) and part.is_site_local):
            raise AddressRefused(f"{address} is an address of a private network")


def _embedded(address: str) -> list[IPv4Address | IPv6Address]:
    """The address, or the IPv4 addresses that an IPv6 address stands for, besides itself."""
    # A link-local address may name an interface: fe80::1%eth0.
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return [parsed]
    if parsed.ipv4_mapped is not None:
        # Never judged by itself: whether it counts as global differs between versions of Python.
        return [parsed.ipv4_mapped]
    found: list[IPv4Address | IPv6Address] = [parsed]
    if parsed.sixtofour is not None:
        found.append(parsed.sixtofour)
    if parsed.teredo is not None:
        found.extend(parsed.teredo)
    if any(parsed in network for network in _NAT64):
        # NAT64 is how a network without IPv4 reaches public servers: the embedded address decides.
        return [IPv4Address(int(parsed) & 0xFFFFFFFF)]
    return found
