"""The client's address, as the proxies in front of the service report it."""

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

# `[::1]` or `[::1]:443`, and `192.0.2.1:5678`: some proxies append the port of the connection.
IPV6_IN_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?")
IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address, or None on a Unix socket.

    Each trusted proxy appends the address of its peer to X-Forwarded-For. With n proxies, the n-th
    entry from the right is the client; the client itself may have sent any entries before it. An
    entry that is no address, such as `unknown`, leaves the address of the last proxy.
    """
    count: int = settings.TRUSTED_PROXY_COUNT
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    remote = parse_address(request.META.get("REMOTE_ADDR", ""))
    if not count or len(forwarded) < count:
        return remote
    return parse_address(forwarded[-count]) or remote


def parse_address(text: str) -> str | None:
    """The IP address in an entry of X-Forwarded-For, in its canonical form, or None.

    Two spellings of one client must be equal: ports differ with each connection, and a proxy that
    listens on IPv6 may write an IPv4 client as `::ffff:192.0.2.1`.
    """
    host = text.strip().strip('"')
    match = IPV6_IN_BRACKETS.fullmatch(host) or IPV4_WITH_PORT.fullmatch(host)
    if match:
        host = match[1]
    try:
        # A zone (`fe80::1%eth0`) is local to this machine, and PostgreSQL cannot store it.
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
