"""The health port, whatever its clients send."""

import asyncio
import os
import socket

import pytest

from mlapi.server import addresses, health_port
from mlapi.server.board import Board
from registry.testing.processes import free_port


async def answer_to(listener: socket.socket, request: bytes) -> tuple[bytes, list[object]]:
    """What a client receives, and what the event loop had to report."""
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    serving = asyncio.create_task(health_port._serve(listener, Board(1), os.getppid()))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(request)
    writer.write_eof()
    try:
        received = await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        # What was not read resets the connection.
        received = b""
    writer.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return received, reports


@pytest.mark.parametrize(
    ("request_text", "begin"),
    [
        (b"GET /health/live HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 "),
        (b"GET /health/ready HTTP/1.1\r\n\r\n", b"HTTP/1.1 503 "),
        (b"POST /health/live HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"GET /" + b"a" * 20_000, b""),
        (b"GET\r\n\r\n", b""),
        (b"GET /health", b""),
    ],
)
def test_each_request_is_answered_or_its_connection_closed(
    request_text: bytes, begin: bytes
) -> None:
    listener = addresses.listen(addresses.resolve("127.0.0.1", free_port()))

    received, reports = asyncio.run(answer_to(listener, request_text))

    assert received[: len(begin)] == begin
    assert bool(received) == bool(begin)
    assert reports == []
