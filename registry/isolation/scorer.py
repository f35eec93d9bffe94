"""The process that scores for one version: `python -m registry.isolation.scorer DESCRIPTOR`.

It loads the file itself, and then answers one request after the other until the worker closes its
end. It must not outlive its worker, even if it hangs in a native call: the kernel ends it soon
after a call's deadline. No Django here.
"""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from registry.isolation.messages import Closed, receive_request, send_outputs, send_reply
from registry.isolation.processes import limit_resources
from registry.runtimes import runtime_module
from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Runtime
from registry.signatures.signature import Signature

# The worker kills a scorer that is late; this is for one whose worker is gone.
GRACE_SECONDS = 5.0


def main(descriptor: int) -> None:
    connection = socket.socket(fileno=descriptor)
    instructions, seconds = receive_request(connection)
    runtime = _load(connection, instructions, seconds)
    if runtime is not None:
        _serve(connection, runtime)
    # Skip the libraries' exit handlers: some hang or crash.
    os._exit(0)


def _load(
    connection: socket.socket, instructions: dict[str, Any], seconds: float
) -> Runtime | None:
    limit_resources(instructions["memory_bytes"], file_bytes=0)
    _set_alarm(seconds + GRACE_SECONDS)
    proven = Signature.from_json(instructions["signature"])
    options = LoadOptions(frozenset(instructions["trusted_types"]), proven=proven)
    try:
        module = runtime_module(instructions["framework"])
        runtime = module.load(Path(instructions["path"]), options)
    except LoadError as error:
        send_reply(connection, {"refused": str(error)})
        return None
    # It survives the trip through JSON, as the proof has checked.
    send_reply(connection, {"signature": runtime.signature.as_json()})
    return runtime


def _serve(connection: socket.socket, runtime: Runtime) -> None:
    while True:
        _set_alarm(0)
        try:
            inputs, seconds = receive_request(connection)
        except Closed:
            return
        _set_alarm(seconds + GRACE_SECONDS)
        try:
            send_outputs(connection, runtime.predict(inputs))
        except (InferenceError, TypeError) as error:
            text = str(error).encode(errors="replace").decode()
            send_reply(connection, {"failed": text or type(error).__name__})


def _set_alarm(seconds: float) -> None:
    """Have the kernel end this process after `seconds`; 0 takes it back."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
