"""The health port: answers from the board alone, so that it answers while every worker hangs."""

import asyncio
import json
import os
import signal
import socket
import time

from mlapi.server.board import Board, WorkerState

MAX_HEAD_BYTES = 8192
REQUEST_SECONDS = 5
MAX_CONNECTIONS = 100
PARENT_CHECK_SECONDS = 1
# A worker writes its heartbeat every second.
SILENT_SECONDS = 5
RETRY_AFTER_SECONDS = 5
# What reading a request and answering it raise; ValueError for a line without a target.
MALFORMED_OR_GONE = (
    OSError,
    ValueError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
)

STATUS_LINES = {200: "200 OK", 404: "404 Not Found", 405: "405 Method Not Allowed"} | {
    503: "503 Service Unavailable"
}


def run(listener: socket.socket, board: Board, parent: int) -> None:
    """Serve the health port in this process until the parent ends."""
    # The parent ends this process; what a terminal sends to the whole group is meant for it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_serve(listener, board, parent))


async def _serve(listener: socket.socket, board: Board, parent: int) -> None:
    limit = asyncio.Semaphore(MAX_CONNECTIONS)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not limit.locked():
                async with limit, asyncio.timeout(REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    method, target = head.decode("latin-1").split(" ", 2)[:2]
                    writer.write(_response(method, target, board))
                    await writer.drain()
        except MALFORMED_OR_GONE:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, sock=listener, limit=MAX_HEAD_BYTES)
    async with server:
        while os.getppid() == parent:
            await asyncio.sleep(PARENT_CHECK_SECONDS)


def _response(method: str, target: str, board: Board) -> bytes:
    status, body = _answer(method, target.partition("?")[0].rstrip("/"), board)
    content = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {STATUS_LINES[status]}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status == 503:
        lines.append(f"Retry-After: {RETRY_AFTER_SECONDS}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head if method == "HEAD" else head + content


def _answer(method: str, path: str, board: Board) -> tuple[int, dict[str, object]]:
    if method not in ("GET", "HEAD"):
        return 405, {"detail": f"Method {method} is not allowed."}
    workers = [_describe(slot, board.read(slot)) for slot in range(board.workers)]
    states = [worker["state"] for worker in workers]
    # A worker that is silent or ended says nothing about what all of them need.
    is_ready = "ready" in states and "not ready" not in states
    status = 200 if is_ready else 503
    if path == "/health/live":
        # This process answers; the supervisor replaces the workers that do not.
        return 200, {"status": "alive", "workers": workers}
    if path in ("/health", "/health/ready"):
        return status, {"status": "ready" if is_ready else "not ready", "workers": workers}
    if path == "/v2/health/live":
        return 200, {"live": True}
    if path == "/v2/health/ready":
        return status, {"ready": is_ready}
    return 404, {"detail": "This port answers /health/live/ and /health/ready/ only."}


def _describe(slot: int, state: WorkerState) -> dict[str, object]:
    described: dict[str, object] = {"worker": slot + 1, "state": "ended"}
    if not state.pid:
        return described
    described["pid"] = state.pid
    if not state.heartbeat:
        return {**described, "state": "starting"}
    described["heartbeat_age_seconds"] = round(time.monotonic() - state.heartbeat, 1)
    if state.silent_seconds > SILENT_SECONDS:
        return {**described, "state": "silent"}
    if not state.report:
        return {**described, "state": "starting"}
    report = json.loads(state.report)
    state_name = "ready" if report["ready"] else "not ready"
    return {**described, "state": state_name, "checks": report["checks"]}
