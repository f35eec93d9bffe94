"""Connections whose every operation ends at one deadline. No Django here.

A socket's own timeout counts for each operation anew: a server that sends its headers byte by byte
holds a thread for as long as it likes. Here, each operation gets the time that is left.

The addresses of a server can be checked, too. The check is of the address that is connected to, so
that a name server cannot give one address to the check and another one to the connection.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from registry.http_client.origins import Origin

# For each address of a server.
CONNECT_SECONDS = 2.0
# A name server that does not respond holds a thread for up to half a minute; this bounds them.
MAX_LOOKUPS = 8

_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)
# A connection belongs to one thread at a time, and that thread to one deadline.
_current = threading.local()


def accept_any(address: str) -> None:
    """The check of a client that may connect to every address."""


@contextmanager
def deadline_at(
    deadline: float, *, require_address: Callable[[str], None] = accept_any
) -> Iterator[None]:
    """End every operation of this thread on a connection at a time of `time.monotonic()`.

    `require_address` is called with each IP address before it is connected to, and raises OSError
    to refuse it.
    """
    _current.deadline, _current.require_address = deadline, require_address
    try:
        yield
    finally:
        del _current.deadline, _current.require_address


def seconds_left() -> float:
    """The time until the deadline; raises TimeoutError if there is none."""
    seconds: float = _current.deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class _TimedSocket(socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(seconds_left())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        # Its timeout counts for all of the data.
        self.settimeout(seconds_left())
        super().sendall(*args, **kwargs)


class _TimedSSLSocket(ssl.SSLSocket):
    # These are what all other ways to read and write call.
    def read(self, *args: Any, **kwargs: Any) -> Any:
        self.settimeout(seconds_left())
        return super().read(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(seconds_left())
        return super().send(*args, **kwargs)

    def do_handshake(self, *args: Any, **kwargs: Any) -> None:
        # Its timeout counts for the whole handshake.
        self.settimeout(seconds_left())
        super().do_handshake(*args, **kwargs)


class _TimedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _TimedHTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _TimedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimedHTTPConnection


class _TimedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPSConnection


def timed_pool(origin: Origin, *, max_connections: int) -> urllib3.HTTPConnectionPool:
    """A pool of connections to one server, to be used inside `deadline_at`.

    It uses no proxy of the environment. A server with https must have a certificate for the host
    of `origin` that the system trusts.
    """
    if origin.scheme == "http":
        return _TimedHTTPPool(origin.host, origin.port, maxsize=max_connections, block=True)
    return _TimedHTTPSPool(
        origin.host,
        origin.port,
        maxsize=max_connections,
        block=True,
        # Explicit although it is the default: requests may hold secrets.
        cert_reqs="CERT_REQUIRED",
        ssl_context=_tls_context(),
    )


def _tls_context() -> ssl.SSLContext:
    context = urllib3.util.ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_default_certs()
    context.sslsocket_class = _TimedSSLSocket
    return context


def _connect(connection: HTTPConnection) -> socket.socket:
    """Connect to the first address of the server that accepts; raises what urllib3 does."""
    failure: OSError = OSError("the name has no address")
    try:
        for family, kind, protocol, _, address in _addresses(connection):
            sock = _TimedSocket(family, kind, protocol)
            try:
                _current.require_address(address[0])
                for option in connection.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(min(CONNECT_SECONDS, seconds_left()))
                sock.connect(address)
                return sock
            except OSError as error:
                sock.close()
                failure = error
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        failure = error
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, f"{connection.host} did not respond") from failure
    raise NewConnectionError(connection, f"no connection: {failure}") from failure


def _addresses(connection: HTTPConnection) -> list[Any]:
    """What `socket.getaddrinfo` returns for the server; raises what it does, and TimeoutError."""
    host, port = connection._dns_host.strip("[]"), connection.port
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return _look_up(host, port)


def _look_up(host: str, port: int) -> list[Any]:
    """Resolve a name in a thread of its own, since nothing else can end that in time."""
    if not _lookups.acquire(timeout=seconds_left()):
        raise TimeoutError("name servers do not respond")
    results: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            results.put(error)
        except UnicodeError as error:
            # A part of the name is too long for a name server.
            results.put(OSError(str(error)))
        finally:
            _lookups.release()

    try:
        threading.Thread(target=look_up, name="look-up", daemon=True).start()
    except RuntimeError as error:
        _lookups.release()
        raise OSError(str(error)) from error
    try:
        result = results.get(timeout=seconds_left())
    except queue.Empty:
        raise TimeoutError("the name server does not respond") from None
    if isinstance(result, OSError):
        raise result
    return result
