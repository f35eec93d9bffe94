"""The keeper: a thread that closes connections whose clients are too slow or idle for too long.

The HTTP server has no timeout for bodies, and an unlimited number of clients may keep connections
that they do not use. Each costs a descriptor, and one that is sending a body a thread. The keeper
asks the kernel about each connection once a second and shuts down

- those whose body arrives too slowly while a thread waits for it,
- those whose client does not read the answer,
- those without a request for `idle_timeout_seconds`,
- and, when there is little room, those that have been idle longest and the slowest bodies.

A request does not tell the port of its client. Which connection belongs to which request follows
from the client's address and from times: a connection that may belong to a request that is being
worked on is left alone.

No Django here.
"""

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlapi.server import tcp
from mlapi.server.in_flight import InFlight, RequestInFlight
from mlapi.server.tcp import TCPInfo

INTERVAL_SECONDS = 1
PRESSED_INTERVAL_SECONDS = 0.2
# With fewer free connections than this share, the longest idle ones are closed, until as many are
# free as the second says.
LOW_SHARE, ENOUGH_SHARE = 0.1, 0.5
MIN_IDLE_SECONDS = 0.2
# Under pressure, the head of a request may take this long at least.
MIN_HEAD_SECONDS = 2
# Under pressure, a body may take this long at least.
MIN_BODY_SECONDS = 3
# How much later than its data a request may begin, when many wait for the interpreter.
DELAY_SECONDS = 5
CLOCK_SECONDS = 1
# For the answer to a body that was too slow.
AFTER_CUT_SECONDS = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    port: int
    max_connections: int
    max_readers: int
    body_timeout_seconds: int
    body_min_bytes_per_second: int
    idle_timeout_seconds: int


@dataclass(slots=True)
class Connection:
    """A connection as the keeper has seen it; times are of the monotonic clock.

    `earliest` and `request_at`: between these its latest request began to arrive.
    """

    descriptor: int
    inode: int
    address: str
    earliest: float
    request_at: float = 0.0
    request_bytes: int = 0
    received_at: float = 0.0
    sent_at: float = 0.0
    is_awaiting: bool = False
    unread_since: float | None = None
    cut_at: float | None = None
    _received_bytes: int = field(default=0, repr=False)
    _bytes_before_request: int = field(default=0, repr=False)
    _acknowledged_bytes: int = field(default=-1, repr=False)

    def update(self, info: TCPInfo, now: float, previous: float) -> None:
        """Take in what the kernel says now; `previous` is when it was asked before."""
        sent_at = now - info.sent_ms / 1000
        has_answered = info.has_sent and sent_at > self.sent_at + 0.01
        is_awaiting = bool(info.received_bytes) and (
            not info.has_sent or info.received_ms < info.sent_ms
        )
        self.received_at = now - info.received_ms / 1000
        if info.received_bytes > self._received_bytes and (not self.is_awaiting or has_answered):
            # The first data since an answer.
            self.earliest, self.request_at = previous, self.received_at
            self._bytes_before_request = self._received_bytes
        self.request_bytes = info.received_bytes - self._bytes_before_request
        self._received_bytes = info.received_bytes
        self.is_awaiting, self.sent_at = is_awaiting, sent_at
        if not info.has_unsent or info.acknowledged_bytes != self._acknowledged_bytes:
            self.unread_since = now if info.has_unsent else None
        self._acknowledged_bytes = info.acknowledged_bytes

    def may_belong_to(self, request: RequestInFlight) -> bool:
        """Whether the request may have arrived over this connection."""
        if request.address != self.address or request.began_at < self.earliest - CLOCK_SECONDS:
            return False
        if request.waiting_since is not None:
            # Its head may have taken long as well.
            return request.began_at <= max(self.received_at, self.sent_at) + DELAY_SECONDS
        ended_at = request.body_ended_at
        return request.began_at <= self.request_at + DELAY_SECONDS and (
            ended_at is None
            or ended_at - DELAY_SECONDS <= self.received_at <= ended_at + CLOCK_SECONDS
        )

    def idle_seconds(self, now: float) -> float:
        return now - max(self.received_at, self.sent_at, 0.0)

    def has_no_request(self, now: float) -> bool:
        """Whether it is idle, or its client has begun a request but not completed the head."""
        if self.is_awaiting:
            return now - self.request_at > MIN_HEAD_SECONDS
        return self.idle_seconds(now) > MIN_IDLE_SECONDS

    def is_slow(self, limits: Limits, now: float) -> bool:
        allowed_seconds = limits.body_timeout_seconds + (
            self.request_bytes / limits.body_min_bytes_per_second
        )
        return now - self.request_at > allowed_seconds

    def bytes_per_second(self, now: float) -> float:
        return self.request_bytes / max(now - self.request_at, 0.001)


class Keeper:
    def __init__(
        self, in_flight: InFlight, limits: Limits, on_closed: Callable[[str, int], None]
    ) -> None:
        self._in_flight = in_flight
        self._limits = limits
        # Called with a reason and the number of connections that were closed for it.
        self._on_closed = on_closed
        self._closed: Counter[str] = Counter()
        self._connections: dict[int, Connection] = {}
        self._checked_at = time.monotonic()

    def start(self) -> None:
        """Check from now on, in a thread; does nothing where the kernel does not tell."""
        if tcp.IS_SUPPORTED:
            threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def check(self) -> bool:
        """Look at each connection once; whether there is so little room that it cannot wait."""
        now = time.monotonic()
        self._observe(now)
        requests = self._in_flight.requests()
        self._closed.clear()
        for connection in self._connections.values():
            self._check_connection(connection, requests, now)
        open_connections = [c for c in self._connections.values() if c.cut_at is None]
        is_low = self._make_room(open_connections, requests, now)
        has_many_readers = self._limit_readers(open_connections, requests, now)
        self._tell()
        return is_low or has_many_readers

    def _run(self) -> None:
        while True:
            is_pressed = False
            try:
                is_pressed = self.check()
            except Exception:
                # Without this thread, slow and idle clients would keep their connections for ever.
                logger.exception("The connections could not be checked")
            time.sleep(PRESSED_INTERVAL_SECONDS)
            if not is_pressed:
                self._in_flight.is_full.wait(INTERVAL_SECONDS - PRESSED_INTERVAL_SECONDS)
            self._in_flight.is_full.clear()

    def _observe(self, now: float) -> None:
        found: dict[int, Connection] = {}
        for descriptor, inode, address, info in tcp.connections(self._limits.port):
            connection = self._connections.get(inode)
            if connection is None:
                connection = Connection(descriptor, inode, address, self._checked_at)
            connection.update(info, now, self._checked_at)
            found[inode] = connection
        self._connections, self._checked_at = found, now

    def _check_connection(
        self, connection: Connection, requests: Sequence[RequestInFlight], now: float
    ) -> None:
        limits = self._limits
        unread_since = connection.unread_since
        if connection.cut_at is not None:
            if now - connection.cut_at > AFTER_CUT_SECONDS:
                tcp.shut_down(connection.descriptor, connection.inode, socket.SHUT_RDWR)
        elif unread_since is not None and now - unread_since > limits.body_timeout_seconds:
            self._cut(connection, socket.SHUT_RDWR, "unread answer")
        elif connection.is_awaiting:
            if connection.is_slow(limits, now) and self._is_waited_for(
                connection, requests, now, limits.body_timeout_seconds
            ):
                self._end_body(connection, requests, "slow body")
        elif connection.idle_seconds(now) > limits.body_timeout_seconds and self._is_waited_for(
            connection, requests, now, limits.body_timeout_seconds
        ):
            self._cut(connection, socket.SHUT_RDWR, "slow body after the answer")
        elif connection.idle_seconds(now) > limits.idle_timeout_seconds and not any(
            connection.may_belong_to(request) for request in requests
        ):
            self._cut(connection, socket.SHUT_RDWR, "idle")

    def _is_waited_for(
        self,
        connection: Connection,
        requests: Sequence[RequestInFlight],
        now: float,
        seconds: float,
    ) -> bool:
        """Whether a thread has waited that long for this client, and none may be at work for it."""
        possible = [request for request in requests if connection.may_belong_to(request)]
        return all(request.waiting_since is not None for request in possible) and any(
            request.seconds_waited(now) >= seconds for request in possible
        )

    def _make_room(
        self, connections: Sequence[Connection], requests: Sequence[RequestInFlight], now: float
    ) -> bool:
        """Close the longest idle connections, and those with incomplete heads, if few are free;
        whether that is so.
        """
        free = self._limits.max_connections - len(connections)
        if free >= self._limits.max_connections * LOW_SHARE:
            return False
        idle = [
            connection
            for connection in connections
            if connection.has_no_request(now)
            and not any(connection.may_belong_to(request) for request in requests)
        ]
        idle.sort(key=lambda connection: -connection.idle_seconds(now))
        for connection in idle[: int(self._limits.max_connections * ENOUGH_SHARE) - free]:
            self._cut(connection, socket.SHUT_RDWR, "idle, few free")
        return True

    def _limit_readers(
        self, connections: Sequence[Connection], requests: Sequence[RequestInFlight], now: float
    ) -> bool:
        """Close the slowest connections if too many threads wait for bodies; whether that is so."""
        waiting = [request for request in requests if request.waiting_since is not None]
        excess = len(waiting) - self._limits.max_readers
        if excess <= 0:
            return False
        slow = [
            connection
            for connection in connections
            if connection.is_awaiting
            and self._is_waited_for(connection, requests, now, MIN_BODY_SECONDS)
        ]
        slow.sort(key=lambda connection: connection.bytes_per_second(now))
        for connection in slow[:excess]:
            self._end_body(connection, requests, "slow body, too many")
        return True

    def _end_body(
        self, connection: Connection, requests: Sequence[RequestInFlight], reason: str
    ) -> None:
        """End the body for the thread that reads it, which can still answer."""
        for request in requests:
            # Any of these may be the one. It makes no difference to a body that does not end here.
            if connection.may_belong_to(request):
                request.is_cut_off = True
        self._cut(connection, socket.SHUT_RD, reason)

    def _cut(self, connection: Connection, how: int, reason: str) -> None:
        connection.cut_at = time.monotonic()
        tcp.shut_down(connection.descriptor, connection.inode, how)
        self._closed[reason] += 1

    def _tell(self) -> None:
        for reason, count in self._closed.items():
            self._on_closed(reason, count)
        if self._closed:
            text = ", ".join(f"{count} ({reason})" for reason, count in self._closed.items())
            logger.info("Closed connections: %s", text)
