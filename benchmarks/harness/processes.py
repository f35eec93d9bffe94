"""Servers under test, each in its own session, so that all of its processes can be stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 20
POLL_SECONDS = 0.02


class ServerFailed(Exception):
    """A server exited or did not become ready; the message holds the end of its output."""


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A program and its child processes, running inside the `with` block."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
    ) -> None:
        self.command, self.environment, self.folder, self.log = command, environment, folder, log
        self.started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        with self.log.open("ab") as output:
            self.started = time.monotonic()
            self._process = subprocess.Popen(  # noqa: S603
                list(self.command),
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        set_session_priority(self.pid, os.nice(0))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_until(self, probe: Callable[[], bool], *, seconds: float) -> float:
        """Seconds from the start until `probe` returns True; raises ServerFailed."""
        while not _succeeds(probe):
            if not self.is_running():
                raise ServerFailed(f"The server exited:\n{self.last_output()}")
            if time.monotonic() - self.started > seconds:
                raise ServerFailed(
                    f"The server was not ready within {seconds:.0f} s:\n{self.last_output()}"
                )
            time.sleep(POLL_SECONDS)
        return time.monotonic() - self.started

    def last_output(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def members(self) -> set[int]:
        """The ids of this server's live processes: its session and all descendants."""
        parents = dict(_parents())
        members = {pid for pid, (_, session) in parents.items() if session == self.pid}
        if self.is_running():
            members.add(self.pid)
        # Repeated: a daemon leaves the session, but keeps its parent.
        while more := {pid for pid, (parent, _) in parents.items() if parent in members} - members:
            members |= more
        return members

    def workers(self) -> list[int]:
        """The parent's live children that run its own program: it forks them."""
        program = _command_line(self.pid)
        children = [pid for pid, (parent, _) in _parents() if parent == self.pid]
        return sorted(pid for pid in children if _command_line(pid) == program)

    def memory_bytes(self) -> int:
        """Resident memory of all members; a page that they share is counted once (PSS)."""
        return sum(memory_bytes(pid) for pid in self.members())

    def cpu_seconds(self) -> float:
        """The processor time that all live members have used."""
        return sum(cpu_seconds(pid) for pid in self.members())

    def stop(self) -> None:
        """Send SIGTERM; SIGKILL follows after STOP_SECONDS."""
        if self._process is None:
            return
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to every member at once and wait until none is left."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.is_running():
                os.killpg(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while (members := self.members()) and time.monotonic() < deadline:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # Reaps the process: a zombie would remain a member.
            self._process.poll()
            time.sleep(POLL_SECONDS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)


def set_session_priority(pid: int, nice: int) -> None:
    """Weigh the session that this process leads as a nice value weighs a process, if permitted.

    Linux shares the processors among sessions first (autogroups), whatever the nice values of their
    processes are: that of the benchmark would not extend to a server in a session of its own.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def _succeeds(probe: Callable[[], bool]) -> bool:
    try:
        return probe()
    except OSError:
        return False


def _parents() -> Iterator[tuple[int, tuple[int, int]]]:
    """(id, (parent id, session id)) of every live process."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The process name in parentheses may itself contain parentheses.
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                yield int(entry.name), (int(fields[1]), int(fields[3]))


def children(pid: int) -> list[int]:
    """The live children of a process."""
    return [child for child, (parent, _) in _parents() if parent == pid]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds."""

    memory_bytes: int
    threads: int
    descriptors: int


def usage(pid: int) -> Usage | None:
    """What a process holds now; None if it is gone."""
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return None
    return Usage(memory_bytes(pid), threads, descriptors)


def cpu_seconds(pid: int) -> float:
    """The processor time of a process, in user and system mode; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """A process's proportional set size: a page shared by n processes counts 1/n."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    kilobytes = next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))
    return int(kilobytes) * 1024
