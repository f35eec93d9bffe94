"""A model that is scored in a process of its own, which may crash or be killed. No Django here.

A call that no library can interrupt ends with its process, and what a poisonous input destroys is
that process alone. The price is a trip of some ten microseconds for every call.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from registry.isolation import processes
from registry.isolation.messages import (
    Closed,
    InvalidMessage,
    read_arrays,
    receive_reply,
    send_request,
)
from registry.runtimes.base import (
    DeadlineExceeded,
    InferenceError,
    LoadError,
    Outputs,
    RuntimeUnavailable,
)
from registry.runtimes.contributions import Explains
from registry.signatures.signature import Signature, SignatureError

logger = logging.getLogger(__name__)

SCORER = "registry.isolation.scorer"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# How long a process may take to end after it has closed its end.
EXIT_SECONDS = 1.0
RETRY_AFTER_SECONDS = 10
# An operator or the kernel, when memory runs out, sends these; no library ends its process so.
OUTSIDE_SIGNALS = frozenset(
    (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
)


class ModelCrashed(InferenceError):
    """The process that scored for the version died of a signal in this call."""


class _Killed(ModelCrashed):
    """Somebody else ended the process, which says nothing about the model."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a scorer loads, and its limits.

    `name` is for logs. `open_file` gives the file's path, which is valid until the context ends;
    it raises LoadError. `call_seconds` limits a call for which the caller states no time.
    `signature` is the proven one, in its JSON form.
    """

    name: str
    open_file: Callable[[], AbstractContextManager[Path]]
    framework: str
    signature: Mapping[str, object]
    trusted_types: frozenset[str]
    memory_bytes: int
    load_seconds: float
    call_seconds: float


@dataclass(slots=True)
class _Scorer:
    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    loads_until: float
    # Open until the process has loaded it.
    file: contextlib.ExitStack
    is_loaded: bool = False


class IsolatedRuntime:
    """Scores one call at a time in its process, which is started again after it has ended.

    `report_crash` receives how the process died, on the thread whose call it was, and returns
    whether it may be started again. It is not called for a call of several rows: its caller is to
    score them one by one, which shows the row that crashes. Nor is it if somebody else killed the
    process.
    """

    def __init__(
        self,
        isolation: Isolation,
        libraries: Mapping[str, str],
        report_crash: Callable[[str], bool],
    ) -> None:
        """Start the process and wait until it has loaded the file; raises LoadError."""
        self.libraries = libraries
        self._isolation = isolation
        self._report_crash = report_crash
        # Held during a call: the process scores one at a time.
        self._lock = threading.Lock()
        self._scorer: _Scorer | None = None
        self._may_start = True
        self.explains: Explains | None = None
        self.signature = Signature.from_json(isolation.signature)
        with self._lock:
            try:
                self.signature = self._start(time.monotonic() + isolation.load_seconds)
            except InferenceError as error:
                raise LoadError(str(error)) from error

    @property
    def size_bytes(self) -> int:
        """The memory of the process, which nothing else shares; 0 while it does not run."""
        scorer = self._scorer
        if scorer is None:
            return 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident = Path(f"/proc/{scorer.process.pid}/statm").read_text().split()[1]
            return int(resident) * PAGE_BYTES
        return 0

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        return self.predict_within(inputs, self._isolation.call_seconds)

    def predict_within(self, inputs: Mapping[str, np.ndarray], seconds: float) -> Outputs:
        """See Interruptible. Raises ModelCrashed if the process dies of a signal.

        If somebody else killed the process, now or since the last call, the call is made again.
        """
        return self._call(inputs, seconds, to_explain=False)

    def explain(self, inputs: Mapping[str, np.ndarray], seconds: float | None = None) -> Outputs:
        """See Explainable.explain. Raises ModelCrashed if the process dies of a signal."""
        return self._call(inputs, seconds or self._isolation.call_seconds, to_explain=True)

    def _call(
        self, inputs: Mapping[str, np.ndarray], seconds: float, *, to_explain: bool
    ) -> Outputs:
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=max(0.0, seconds)):
            raise _late(seconds)
        try:
            try:
                return self._score(inputs, seconds, until, to_explain)
            except _Killed:
                return self._score(inputs, seconds, until, to_explain)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process. A later call starts it again."""
        with self._lock:
            self._end()

    def __del__(self) -> None:
        # Evicted from the cache: nobody can call it any more.
        with contextlib.suppress(Exception):
            self._end()

    def _score(
        self, inputs: Mapping[str, np.ndarray], seconds: float, until: float, to_explain: bool
    ) -> Outputs:
        scorer = self._running(until)
        try:
            send_request(scorer.connection, inputs, until, to_explain=to_explain)
            reply, content = receive_reply(scorer.connection, until)
            if "failed" in reply:
                raise InferenceError(str(reply["failed"]))
            return read_arrays(reply.get("arrays"), content)
        except TimeoutError:
            self._end()
            raise _late(seconds) from None
        except (Closed, InvalidMessage, OSError) as error:
            is_single = len(next(iter(inputs.values()))) == 1
            raise self._crashed(error, is_single=is_single) from error

    def _running(self, until: float) -> _Scorer:
        if not self._may_start:
            raise RuntimeUnavailable("The model crashed too often", retry_after=RETRY_AFTER_SECONDS)
        if self._scorer is None or not self._scorer.is_loaded:
            try:
                self._start(until)
            # The system may lack descriptors, processes or memory.
            except (LoadError, OSError, _Killed) as error:
                raise RuntimeUnavailable(str(error), retry_after=RETRY_AFTER_SECONDS) from error
        assert self._scorer is not None
        return self._scorer

    def _start(self, until: float) -> Signature:
        """Wait until the process has loaded the file, starting it if there is none; return the
        signature that it read.

        A process that is still loading at `until` goes on: the next call may find it ready.
        """
        if self._scorer is None:
            self._scorer = self._launch()
        scorer = self._scorer
        try:
            reply, _ = receive_reply(scorer.connection, min(until, scorer.loads_until))
            if "refused" in reply:
                self._end()
                raise LoadError(str(reply["refused"]))
            signature = Signature.from_json(reply.get("signature"))
            self.explains = Explains.from_json(reply.get("explains"))
        except TimeoutError:
            if time.monotonic() >= scorer.loads_until:
                self._end()
            raise DeadlineExceeded("The process that scores for this model is loading it") from None
        except (Closed, InvalidMessage, OSError, SignatureError) as error:
            raise self._crashed(error) from error
        scorer.is_loaded = True
        scorer.file.close()
        return signature

    def _launch(self) -> _Scorer:
        isolation = self._isolation
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(isolation.open_file())
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            until = time.monotonic() + isolation.load_seconds
            with theirs:
                descriptor = theirs.fileno()
                try:
                    process = processes.start(SCORER, str(descriptor), pass_fds=(descriptor,))
                except OSError:
                    ours.close()
                    raise
            instructions = {
                "path": str(path.resolve()),
                "framework": isolation.framework,
                "signature": isolation.signature,
                "trusted_types": sorted(isolation.trusted_types),
                "memory_bytes": isolation.memory_bytes,
                "longest_seconds": max(isolation.load_seconds, isolation.call_seconds),
            }
            # A process that ends at once is noticed when its reply is awaited.
            with contextlib.suppress(OSError):
                send_request(ours, instructions, until)
            return _Scorer(process, ours, until, stack.pop_all())

    def _crashed(self, error: Exception, *, is_single: bool = True) -> InferenceError:
        """End the process, and report how it had ended by itself if that is certain."""
        returncode = self._end(wait_seconds=EXIT_SECONDS)
        if isinstance(error, InvalidMessage | SignatureError):
            reason = f"sent {error}"
        elif returncode is None:
            reason = "sent no reply"
        elif returncode < 0:
            reason = f"died of {_signal_name(-returncode)}"
        else:
            reason = f"ended with the exit code {returncode}"
        message = f"The process that scored this input {reason}"
        is_killed = returncode is not None and -returncode in OUTSIDE_SIGNALS
        if is_single and not is_killed:
            self._may_start = self._report_crash(reason)
        else:
            logger.warning("The process that scores %s %s", self._isolation.name, reason)
        return _Killed(message) if is_killed else ModelCrashed(message)

    def _end(self, wait_seconds: float = 0.0) -> int | None:
        """Kill the process unless it ends by itself in that time; return how it did, or None."""
        scorer, self._scorer = self._scorer, None
        if scorer is None:
            return None
        scorer.connection.close()
        scorer.file.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return scorer.process.wait(wait_seconds)
        processes.kill(scorer.process)
        return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"The model did not answer within {seconds:g} s")
