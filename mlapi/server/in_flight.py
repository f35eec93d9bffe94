"""The requests that this process is working on, and their bodies.

The server hands over a request as soon as its head is complete. Its thread then waits for the body,
for as long as the client likes: see `keeper.py`.

No Django here.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlapi.bodies.streams import BodyError

# A client that is still sending when its answer comes may never read it, or a proxy may report a
# failure of its own. What it sends is read and discarded, up to these limits.
DISCARD_BYTES = 64 * 2**20
DISCARD_SECONDS = 10
CHUNK_BYTES = 2**16
UNKNOWN_BYTES = 2**62
TOO_SLOW = "The request's body arrived too slowly."
# The key in a request's environment that tells Django to refuse it, and why.
REFUSAL = "mlapi.refusal"
TOO_MANY = "The service is working on as many requests as it can."


class BodyTooSlow(BodyError):
    """The body did not arrive in time. The message is for the caller."""


class RequestInFlight:
    """One request, and the stream of its body in place of `wsgi.input`.

    `waiting_since` is when its thread began to wait for the client, None while it does not.
    `is_cut_off` is set by the keeper before it closes the connection of a body that is too slow.
    """

    __slots__ = (
        "_is_too_slow",
        "_read",
        "address",
        "began_at",
        "body_ended_at",
        "is_cut_off",
        "remaining_bytes",
        "waited_seconds",
        "waiting_since",
    )

    def __init__(self, environ: dict[str, Any]) -> None:
        self.began_at = time.monotonic()
        self.address = environ["REMOTE_ADDR"]
        self._read = environ["wsgi.input"].read
        length = environ.get("CONTENT_LENGTH")
        if length:
            self.remaining_bytes = int(length) if length.isdecimal() else 0
        else:
            # A chunked body: its length is not known before its end.
            self.remaining_bytes = UNKNOWN_BYTES if "HTTP_TRANSFER_ENCODING" in environ else 0
        self.body_ended_at = None if self.remaining_bytes else self.began_at
        self.waiting_since: float | None = None
        self.waited_seconds = 0.0
        self.is_cut_off = False
        self._is_too_slow = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of the body; fewer only at its end. Raises BodyTooSlow."""
        if self._is_too_slow:
            raise BodyTooSlow(TOO_SLOW)
        if size is None or size < 0 or size > self.remaining_bytes:
            size = self.remaining_bytes
        if not size:
            return b""
        self.waiting_since = began_at = time.monotonic()
        data: bytes = self._read(size)
        now = time.monotonic()
        self.waiting_since = None
        self.waited_seconds += now - began_at
        self.remaining_bytes -= len(data)
        if len(data) < size:
            self.remaining_bytes = 0
        if not self.remaining_bytes:
            self.body_ended_at = now
        if len(data) < size and self.is_cut_off:
            self._is_too_slow = True
            raise BodyTooSlow(TOO_SLOW)
        return data

    def readline(self, size: int = -1) -> bytes:
        """The next line of the body. Required by PEP 3333; slow, and used by no parser here."""
        line = bytearray()
        while size < 0 or len(line) < size:
            byte = self.read(1)
            line += byte
            if byte in (b"", b"\n"):
                break
        return bytes(line)

    def discard(self) -> None:
        """Read what is left of the body, within limits."""
        # What still comes is, for the connection, like a new request.
        self.began_at, self.waited_seconds = time.monotonic(), 0.0
        deadline = self.began_at + DISCARD_SECONDS
        left_bytes = self.remaining_bytes
        if DISCARD_BYTES < left_bytes < UNKNOWN_BYTES // 2:
            return
        last_bytes = left_bytes - DISCARD_BYTES
        while self.remaining_bytes > max(last_bytes, 0) and time.monotonic() < deadline:
            self.read(CHUNK_BYTES)

    def seconds_waited(self, now: float) -> float:
        """How long its thread has waited for the client, until now."""
        since = self.waiting_since
        return self.waited_seconds + (0.0 if since is None else now - since)


class InFlight:
    """All requests in flight. `limit` is how many there may be; None for any number.

    While `closed_because` has a text, every request is refused with it.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.closed_because = ""
        # Set when there are too many: see `keeper.py`.
        self.is_full = threading.Event()
        self._requests: dict[int, RequestInFlight] = {}

    def begin(self, environ: dict[str, Any]) -> RequestInFlight:
        """Note a request and replace the stream of its body; call `end` when it is answered."""
        request = RequestInFlight(environ)
        environ["mlapi.arrived_at"] = request.began_at
        environ["wsgi.input"] = request
        self._requests[id(request)] = request
        return request

    def end(self, request: RequestInFlight) -> None:
        self._requests.pop(id(request), None)

    def refusal(self) -> str:
        """Why the latest request must not be worked on, such as that it is one too many; or ""."""
        if self.limit is not None and len(self._requests) > self.limit:
            self.is_full.set()
            return TOO_MANY
        return self.closed_because

    def has_room(self) -> bool:
        """Whether threads may wait for clients that have their answer."""
        return self.limit is None or len(self._requests) <= self.limit // 2

    def requests(self) -> list[RequestInFlight]:
        return list(self._requests.values())


class PendingAnswer:
    """An answer that is sent piece by piece; the request is in flight until it is closed."""

    def __init__(self, pieces: Iterable[bytes], close: Callable[[], None]) -> None:
        self._pieces = iter(pieces)
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        self._close()


def answer_then_discard(request: RequestInFlight, content: bytes) -> Iterator[bytes]:
    """The answer, after which the rest of the request's body is read.

    The server sends each piece when it gets it: the client has its answer before it has sent all.
    """
    yield content
    # A client that is gone does not matter any more.
    with contextlib.suppress(OSError):
        request.discard()
