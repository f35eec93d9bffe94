"""Runs code that reads untrusted model files in a subprocess with limits.

Native parsers crash on a damaged file, and a crafted file can make them loop forever or fill the
memory. Here that ends one subprocess and is reported as a rejected file. No Django here.

`run` starts one of our modules with `python -m`; that module calls `serve` with its handler. The
request is JSON on standard input. The reply is JSON on a duplicate of standard output, made before
any library is loaded.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from registry.artifacts.errors import ArtifactRejected
from registry.exact_json.values import JSONObject
from registry.isolation import processes
from registry.isolation.processes import ReplyTooLarge

# Far more than the signature of the widest model that anyone has sent.
MAX_REPLY_BYTES = 2**26
OUT_OF_MEMORY_EXIT_CODE = 77
# How C++ libraries and onnxruntime's allocator report it in their own exceptions.
OUT_OF_MEMORY_MESSAGES = ("bad_alloc", "Failed to allocate memory")
INVALID_REPLY = (
    "The process that read the file gave no valid reply: the file is damaged or malicious."
)
DEFAULT_TASK = "Loading and scoring"


def run(
    module: str,
    request: Mapping[str, object],
    *,
    timeout_seconds: float,
    memory_bytes: int,
    file_bytes: int = 0,
    task: str = DEFAULT_TASK,
) -> JSONObject:
    """Send the request to that module in a fresh subprocess and return its reply.

    The subprocess may write no file larger than `file_bytes`. Raises ArtifactRejected if the module
    rejects the request, exceeds a limit or dies; messages about limits begin with `task`.
    """
    limits = (memory_bytes, file_bytes, int(timeout_seconds) + 1)
    child = processes.start(module, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        output = processes.exchange(
            child,
            json.dumps([limits, request]).encode(),
            timeout_seconds=timeout_seconds,
            max_bytes=MAX_REPLY_BYTES,
        )
    except BaseException as error:
        processes.kill(child)
        if isinstance(error, ReplyTooLarge):
            raise ArtifactRejected(INVALID_REPLY) from None
        if isinstance(error, subprocess.TimeoutExpired):
            raise ArtifactRejected(_timeout_message(task, timeout_seconds)) from None
        raise
    if child.returncode != 0:
        raise ArtifactRejected(_exit_message(child.returncode, task, timeout_seconds, memory_bytes))
    return _read_reply(output)


def serve(handle: Callable[[JSONObject], Mapping[str, object]]) -> NoReturn:
    """Apply the limits to this process, reply to its one request and exit.

    This is the subprocess's end of `run`. `handle` raises ArtifactRejected to reject the request.
    """
    # Libraries print to standard output. The reply goes to a descriptor they do not know.
    reply_descriptor = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    limits, request = json.load(sys.stdin.buffer)
    processes.limit_resources(*limits)
    with os.fdopen(reply_descriptor, "wb") as replies:
        replies.write(json.dumps(_reply(handle, request)).encode())
    # Skip the libraries' exit handlers: some hang or crash.
    os._exit(0)


# -- in the parent process


def _read_reply(output: bytes) -> JSONObject:
    try:
        reply: JSONObject = json.loads(output)
        field, message = reply.get("rejected", (None, ""))
        # It may quote any byte of the file, even half of a surrogate pair, which no response holds.
        message = message.encode(errors="replace").decode()
    # Code that took over the process can end it early, or write anything.
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactRejected(INVALID_REPLY) from error
    if field is not None:
        raise ArtifactRejected(message, field=str(field))
    return reply


def _timeout_message(task: str, timeout_seconds: float) -> str:
    return (
        f"{task} the model took longer than {timeout_seconds:g} s. An operator can raise"
        " PROOF_TIMEOUT_SECONDS."
    )


def _exit_message(returncode: int, task: str, timeout_seconds: float, memory_bytes: int) -> str:
    """Explain to the caller why the subprocess ended without a reply."""
    memory = (
        f"{task} the model needs more than {memory_bytes // 2**20} MiB: the file is too large or"
        " damaged."
    )
    if returncode == OUT_OF_MEMORY_EXIT_CODE:
        return memory
    if returncode == -signal.SIGXCPU:
        return _timeout_message(task, timeout_seconds)
    if returncode == -signal.SIGKILL:
        return f"{memory} (SIGKILL)"
    reason = signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"
    return (
        f"The file crashed the library that reads it ({reason}): it is damaged. Export the model"
        " again and send the complete file."
    )


# -- in the subprocess


def _reply(
    handle: Callable[[JSONObject], Mapping[str, object]], request: JSONObject
) -> Mapping[str, object]:
    try:
        return handle(request)
    # Libraries raise anything for a bad file; whatever it is, the file is rejected.
    except Exception as error:
        if _is_out_of_memory(error):
            os._exit(OUT_OF_MEMORY_EXIT_CODE)
        if isinstance(error, ArtifactRejected):
            field, messages = next(iter(error.errors.items()))
            return {"rejected": [field, messages[0]]}
        return {"rejected": ["artifact", f"The model failed: {type(error).__name__}: {error}"]}


def _is_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or any(
            message in str(error) for message in OUT_OF_MEMORY_MESSAGES
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
