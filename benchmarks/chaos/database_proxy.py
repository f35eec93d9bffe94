"""A proxy between the service and PostgreSQL that can delay, hold and refuse.

`python -m benchmarks.chaos.database_proxy PORT SOCKET` listens on loopback and forwards to a Unix
socket. Commands come as lines on standard input: `delay SECONDS` before each message of a client,
`hold` (forward nothing, accept connections), `refuse` (cut every connection and accept none), and
`pass`.
"""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.environments import PROJECT

CHUNK_BYTES = 2**16


class DatabaseProxy:
    """The proxy as a process of its own, while the `with` block runs."""

    def __init__(self, port: int, socket: Path) -> None:
        self._command = [sys.executable, "-m", "benchmarks.chaos.database_proxy"]
        self._command += [str(port), str(socket)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "DatabaseProxy":
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdout is not None
        # It says so once it listens.
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        # Closes the pipes too.
        self._process.communicate()

    def tell(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()


class Proxy:
    """Forwards connections; its state decides how."""

    def __init__(self, port: int, socket: str) -> None:
        self._port, self._socket = port, socket
        self._delay_seconds = 0.0
        self._is_refusing = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def run(self) -> None:
        server = await asyncio.start_server(self._forward_both, "127.0.0.1", self._port)
        print("listening", flush=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with server:
            while line := await reader.readline():
                self._obey(*line.decode().split())

    def _obey(self, command: str, *arguments: str) -> None:
        self._delay_seconds = float(arguments[0]) if command == "delay" else 0.0
        self._is_refusing = command == "refuse"
        if command == "hold":
            self._passes.clear()
        else:
            self._passes.set()
        if self._is_refusing:
            for writer in list(self._writers):
                writer.transport.abort()

    async def _forward_both(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._is_refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(up_writer)
        await asyncio.gather(
            self._forward(reader, up_writer, is_client=True),
            self._forward(up_reader, writer, is_client=False),
        )

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if is_client and self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
        self._writers.discard(writer)
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()


if __name__ == "__main__":
    asyncio.run(Proxy(int(sys.argv[1]), sys.argv[2]).run())
