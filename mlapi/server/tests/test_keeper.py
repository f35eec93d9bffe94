"""Which connections the keeper closes, with what the kernel would say of them."""

import io
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mlapi.server import in_flight, keeper, tcp
from mlapi.server.in_flight import InFlight
from mlapi.server.keeper import Keeper, Limits
from mlapi.server.tcp import TCPInfo

CLIENT = "192.0.2.7"
LIMITS = Limits(
    port=8000,
    max_connections=10,
    max_readers=2,
    body_timeout_seconds=20,
    body_min_bytes_per_second=1000,
    idle_timeout_seconds=75,
)


class World:
    """A clock, the connections of a process by inode, and those that were shut down."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.infos: dict[int, tuple[str, TCPInfo]] = {}
        self.shut: list[tuple[int, int]] = []
        self.in_flight = InFlight()
        self.keeper: Keeper

    def monotonic(self) -> float:
        return self.now

    def connections(self, port: int) -> Iterator[tuple[int, int, str, TCPInfo]]:
        for inode, (address, info) in self.infos.items():
            yield inode, inode, address, info

    def shut_down(self, descriptor: int, inode: int, how: int) -> None:
        self.shut.append((inode, how))

    def connect(
        self, inode: int, *, received: int, ago: float, answered: float | None = None, **more: Any
    ) -> None:
        """Received that many bytes, the last of them `ago` seconds before; answered then or not."""
        info = TCPInfo(
            received_bytes=received,
            acknowledged_bytes=more.get("acknowledged", 0),
            received_ms=int(ago * 1000),
            sent_ms=int((ago if answered is None else answered) * 1000),
            has_sent=answered is not None,
            has_unsent=more.get("has_unsent", False),
        )
        self.infos[inode] = (more.get("address", CLIENT), info)

    def request(self, length: int = 1000, address: str = CLIENT) -> Any:
        environ = {
            "REMOTE_ADDR": address,
            "CONTENT_LENGTH": str(length),
            "wsgi.input": io.BytesIO(),
        }
        return self.in_flight.begin(environ)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    clock = SimpleNamespace(monotonic=made.monotonic)
    monkeypatch.setattr(keeper, "time", clock)
    monkeypatch.setattr(in_flight, "time", clock)
    made.keeper = Keeper(made.in_flight, LIMITS, lambda reason, count: None)
    monkeypatch.setattr(tcp, "connections", made.connections)
    monkeypatch.setattr(tcp, "shut_down", made.shut_down)
    return made


def wait_for_body(world: World, seconds: float, address: str = CLIENT) -> Any:
    """A request whose thread has waited that long for its client."""
    request = world.request(address=address)
    request.began_at = request.waiting_since = world.now - seconds
    return request


def pass_seconds(world: World, seconds: float) -> None:
    world.keeper.check()
    world.now += seconds


def test_slow_body_is_closed_for_reading(world: World) -> None:
    world.connect(1, received=100, ago=0)
    pass_seconds(world, 21)
    wait_for_body(world, 21)
    world.connect(1, received=120, ago=5)

    world.keeper.check()

    assert world.shut == [(1, socket.SHUT_RD)]
    # One that stays all the same is closed altogether.
    world.now += keeper.AFTER_CUT_SECONDS + 1
    world.keeper.check()
    assert world.shut[1:] == [(1, socket.SHUT_RDWR)]


@pytest.mark.parametrize("received", [30_000, 3_000_000])
def test_body_at_a_sufficient_rate_is_left_alone(world: World, received: int) -> None:
    world.connect(1, received=100, ago=0)
    pass_seconds(world, 45)
    wait_for_body(world, 45)
    world.connect(1, received=received, ago=0.1)

    world.keeper.check()

    assert world.shut == []


def test_client_that_waits_for_its_answer_is_left_alone(world: World) -> None:
    world.connect(1, received=1100, ago=0)
    pass_seconds(world, 100)
    request = world.request()
    request.began_at = request.body_ended_at = world.now - 100
    # Another client of the same address is slow at the same time.
    wait_for_body(world, 90)
    world.connect(1, received=1100, ago=100)

    world.keeper.check()

    assert world.shut == []


def test_requests_that_are_worked_on_do_not_protect_a_slow_client(world: World) -> None:
    world.connect(1, received=100, ago=0)
    pass_seconds(world, 30)
    wait_for_body(world, 30)
    quick = world.request()
    quick.began_at = quick.body_ended_at = world.now - 0.01
    world.connect(1, received=130, ago=2)

    world.keeper.check()

    assert world.shut == [(1, socket.SHUT_RD)]


def test_idle_connection_is_closed(world: World) -> None:
    world.connect(1, received=0, ago=76)
    world.connect(2, received=500, ago=76, answered=75.9)
    world.connect(3, received=500, ago=60, answered=59.9)

    world.keeper.check()

    assert {inode for inode, _ in world.shut} == {1, 2}


def test_longest_idle_are_closed_when_few_are_free(world: World) -> None:
    for inode in range(10):
        world.connect(inode, received=500, ago=inode + 1, answered=inode + 0.9)

    is_pressed = world.keeper.check()

    assert is_pressed
    assert {inode for inode, _ in world.shut} == {5, 6, 7, 8, 9}


def test_incomplete_heads_are_closed_when_few_are_free(world: World) -> None:
    other = "192.0.2.8"
    world.connect(0, received=300, ago=0, address=other)
    for inode in range(1, 10):
        world.connect(inode, received=1, ago=0)
    pass_seconds(world, 1)
    world.keeper.check()
    assert world.shut == []
    world.now += 2
    # The head of one was complete, and its request is being worked on. The others send more.
    world.connect(0, received=300, ago=3, address=other)
    for inode in range(1, 10):
        world.connect(inode, received=2, ago=0)
    request = world.request(length=0, address=other)
    request.began_at = request.body_ended_at = world.now - 3

    world.keeper.check()

    assert len(world.shut) == 5
    assert (0, socket.SHUT_RDWR) not in world.shut


def test_slowest_bodies_are_closed_when_too_many_are_waited_for(world: World) -> None:
    for inode in range(4):
        world.connect(inode, received=100, ago=0)
    pass_seconds(world, 5)
    waiting = [wait_for_body(world, 5) for _ in range(4)]
    for inode in range(4):
        world.connect(inode, received=100 + inode, ago=0)

    is_pressed = world.keeper.check()

    assert is_pressed
    assert world.shut == [(0, socket.SHUT_RD), (1, socket.SHUT_RD)]
    # They are answered that they were too slow, not that they sent less than they announced.
    assert all(request.is_cut_off for request in waiting)


def test_client_that_does_not_read_its_answer_is_closed(world: World) -> None:
    world.connect(1, received=500, ago=0, answered=0, has_unsent=True, acknowledged=10)
    pass_seconds(world, 10)
    world.connect(1, received=500, ago=10, answered=0, has_unsent=True, acknowledged=20)
    pass_seconds(world, 21)
    assert world.shut == []
    world.connect(1, received=500, ago=31, answered=0, has_unsent=True, acknowledged=20)

    world.keeper.check()

    assert world.shut == [(1, socket.SHUT_RDWR)]


@pytest.mark.skipif(not tcp.IS_SUPPORTED, reason="needs Linux's /proc and TCP_INFO")
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_kernel_tells_what_came_and_went(family: socket.AddressFamily, host: str) -> None:
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)) as client, listener.accept()[0] as peer:
            client.sendall(b"x" * 10)
            assert peer.recv(10)
            ((descriptor, inode, address, info),) = tcp.connections(port)

            assert (descriptor, address) == (peer.fileno(), host)
            assert (info.received_bytes, info.has_sent, info.has_unsent) == (10, False, False)
            tcp.shut_down(descriptor, inode + 1, socket.SHUT_RDWR)
            peer.sendall(b"still open")
            ((_, _, _, info),) = tcp.connections(port)
            assert info.has_sent
            tcp.shut_down(descriptor, inode, socket.SHUT_RDWR)
            assert peer.recv(1) == b""
