"""Addresses to listen on: names are resolved, and a port that is in use is refused."""

import contextlib
import errno
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

# The workers of a server that was killed end within this time, if they have nothing to finish.
RELEASE_SECONDS = 3
RETRY_SECONDS = 0.1


class AddressError(Exception):
    """The address cannot be used. The message is one line, for the operator."""


class Address(NamedTuple):
    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PortInUse(AddressError):
    def __init__(self, address: Address) -> None:
        super().__init__(
            f"Port {address.port} of {address.host} is in use: stop what uses it, or choose another"
        )


def resolve(host: str, port: int) -> Address:
    """The address of a name such as `localhost`; IPv4 is preferred. Raises AddressError."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AddressError(
            f"Unknown host {host!r}: use a name or an address of this machine, or 0.0.0.0 for all"
        ) from None
    usable = sorted(
        (family, name[0])
        for family, *_, name in found
        if family in (socket.AF_INET, socket.AF_INET6) and "%" not in str(name[0])
    )
    if not usable:
        raise AddressError(f"The host {host!r} has no address that can be used")
    family, name = usable[0]
    return Address(socket.AddressFamily(family), str(name), port)


def require_free(address: Address) -> None:
    """Raise AddressError if the address cannot be listened on, after waiting a few seconds.

    The workers share their port by SO_REUSEPORT, with which a second server would start too and
    take half of the connections. This socket does not share, and so finds any other that listens.
    """
    _retry_while_in_use(lambda: listen(address)).close()


@contextlib.contextmanager
def claim(address: Address) -> Iterator[None]:
    """Hold the address against other servers of this kind until the end; raises AddressError.

    Between `require_free` and the first worker's socket nothing listens. A socket with an abstract
    name closes this gap: the name is as unique as the port, since both belong to the same network
    namespace, and the kernel frees it when the last process of the server has ended.
    """
    with contextlib.ExitStack() as stack:
        if sys.platform == "linux":
            stack.enter_context(_retry_while_in_use(lambda: _guard(address)))
        require_free(address)
        yield


def _retry_while_in_use(attempt: Callable[[], socket.socket]) -> socket.socket:
    deadline = time.monotonic() + RELEASE_SECONDS
    while True:
        try:
            return attempt()
        except PortInUse:
            if time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_SECONDS)


def _guard(address: Address) -> socket.socket:
    guard = socket.socket(socket.AF_UNIX)
    try:
        guard.bind(f"\0mlapi-server-{address}")
    except OSError:
        guard.close()
        raise PortInUse(address) from None
    return guard


def listen(address: Address) -> socket.socket:
    """A listening socket that shares its port with nobody; raises AddressError."""
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        # Connections that were closed a moment ago do not keep the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise _explained(address, error) from None
    return listener


def _explained(address: Address, error: OSError) -> AddressError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(address)
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressError(f"This machine has no address {address.host}")
    if error.errno == errno.EACCES:
        return AddressError(f"This user may not listen on port {address.port}: choose another")
    return AddressError(f"Cannot listen on {address}: {error.strerror}")
