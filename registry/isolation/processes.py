"""What every process that runs a library on an untrusted file has in common: how it is started, its
limits, and how much of its reply is read. No Django here.
"""

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
# What the process needs to find its libraries. It inherits no secrets.
PASSED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    # Where OpenSSL finds the installation's own certificate authorities, for remote models.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_PIECE_BYTES = 2**16


class ReplyTooLarge(Exception):
    """The process wrote more than its reply may hold."""


def start(
    module: str,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start one of our modules with `python -m`, in a session of its own and without secrets."""
    return subprocess.Popen(  # noqa: S603 - one of our modules, named by our own code
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT_ROOT,
        env=environment(),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return passed | ONE_THREAD | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}


def limit_resources(memory_bytes: int, file_bytes: int, cpu_seconds: int | None = None) -> None:
    """Limit this process: the memory it may use, the size of a file that it may write, and its
    processor time. It leaves no core file.
    """
    # Not RLIMIT_AS: onnxruntime and pyarrow reserve far more addresses than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))


def kill(child: "subprocess.Popen[bytes]") -> int:
    """Kill the process with its whole session; returns how it ended, as Popen.returncode does."""
    # Before it is reaped: until then its process id is not reused.
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    return child.wait()


def exchange(
    child: "subprocess.Popen[bytes]", request: bytes, *, timeout_seconds: float, max_bytes: int
) -> bytes:
    """Write the request to the process, and return all that it writes until it ends.

    Raises subprocess.TimeoutExpired, or ReplyTooLarge for more than `max_bytes`: code that took
    over the process could fill the memory of this one. The process runs on then.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    until = time.monotonic() + timeout_seconds
    unsent, reply = memoryview(request), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdin, selectors.EVENT_WRITE)
        selector.register(child.stdout, selectors.EVENT_READ)
        os.set_blocking(child.stdin.fileno(), False)
        while selector.get_map():
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(child.args, timeout_seconds)
            for key, _ in ready:
                if key.fileobj is child.stdin:
                    unsent = unsent[_write(child.stdin.fileno(), unsent) :]
                    is_finished = not unsent
                else:
                    piece = os.read(child.stdout.fileno(), _PIECE_BYTES)
                    reply += piece
                    is_finished = not piece
                if is_finished:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            if len(reply) > max_bytes:
                raise ReplyTooLarge
    child.wait(max(0.0, until - time.monotonic()))
    return bytes(reply)


def _write(descriptor: int, content: memoryview) -> int:
    """How many bytes the pipe took; all of them count as taken if its reader is gone."""
    try:
        return os.write(descriptor, content[:_PIECE_BYTES])
    except BrokenPipeError:
        return len(content)
