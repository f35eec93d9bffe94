"""The process that scores for one version: `python -m registry.isolation.scorer DESCRIPTOR`.

It loads the file itself, and then answers one request after the other until the worker closes its
end. No Django here.
"""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from registry.isolation.messages import Closed, receive_request, send_outputs, send_reply
from registry.isolation.processes import limit_resources
from registry.runtimes import runtime_module
from registry.runtimes.base import LoadError, LoadOptions, Runtime
from registry.runtimes.contributions import Explainable, explains_of
from registry.signatures.signature import Signature

CHECK_SECONDS = 2.0
# The worker kills a scorer that is late; the alarm is for one whose worker is gone.
GRACE_SECONDS = 10.0


def main(descriptor: int) -> None:
    connection = socket.socket(fileno=descriptor)
    connection.setblocking(True)
    _, instructions = receive_request(connection)
    threading.Thread(
        target=_end_with_worker, args=[os.getppid(), instructions["longest_seconds"]], daemon=True
    ).start()
    runtime = _load(connection, instructions)
    if runtime is not None:
        _serve(connection, runtime)
    # Skip the libraries' exit handlers: some hang or crash.
    os._exit(0)


def _end_with_worker(worker: int, longest_seconds: float) -> None:
    """End this process when its worker is gone, whatever a library is doing.

    A library may keep this thread from running, too. Then the kernel ends the process, once nobody
    has put its alarm off for longer than any call may take.
    """
    while os.getppid() == worker:
        signal.setitimer(signal.ITIMER_REAL, longest_seconds + GRACE_SECONDS)
        time.sleep(CHECK_SECONDS)
    os._exit(0)


def _load(connection: socket.socket, instructions: dict[str, Any]) -> Runtime | None:
    limit_resources(instructions["memory_bytes"], file_bytes=0)
    proven = Signature.from_json(instructions["signature"])
    options = LoadOptions(frozenset(instructions["trusted_types"]), proven=proven)
    try:
        module = runtime_module(instructions["framework"])
        runtime = module.load(Path(instructions["path"]), options)
    except LoadError as error:
        send_reply(connection, {"refused": str(error)})
        return None
    # It survives the trip through JSON, as the proof has checked.
    explains = explains_of(runtime)
    send_reply(
        connection,
        {
            "signature": runtime.signature.as_json(),
            "explains": explains and explains.as_json(),
        },
    )
    return runtime


def _serve(connection: socket.socket, runtime: Runtime) -> None:
    while True:
        try:
            to_explain, inputs = receive_request(connection)
        except Closed:
            return
        try:
            if to_explain:
                assert isinstance(runtime, Explainable)
                outputs = runtime.explain(inputs)
            else:
                outputs = runtime.predict(inputs)
            send_outputs(connection, outputs)
        # Whatever a library raises, or a lack of memory, is no crash.
        except Exception as error:
            text = str(error).encode(errors="replace").decode()
            send_reply(connection, {"failed": text or type(error).__name__})


if __name__ == "__main__":
    main(int(sys.argv[1]))
