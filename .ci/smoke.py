"""A new user's first minutes with the README's command: serve, predict, restart, read it back.

Run `python3 .ci/smoke.py "COMMAND"` in a fresh checkout. It needs the standard library only.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_SECONDS = 900  # The first start includes the installation.
STOP_SECONDS = 60
WINE = [13.2, 1.8, 2.4, 18.0, 105.0, 2.5, 2.6, 0.3, 1.7, 5.0, 1.0, 3.1, 900.0]


def main(command: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with serving(f"{command} --port {port}", base) as output:
        password = re.search(r"password: (\S+)", output.read_text())
        assert password, output.read_text()
        credentials = {"username": "admin", "password": password[1]}
        token = call(f"{base}/api/v1/auth/token/", credentials)["access"]
        models = call(f"{base}/api/v1/models/?name=wine", token=token)
        request = {"model_id": models[0]["id"], "input_data": {"features": WINE}}
        prediction = call(f"{base}/api/v1/predictions/", request, token=token)
        before = call(f"{base}/api/v1/predictions/{prediction['id']}/", token=token)
        assert before["input_data"] == request["input_data"], before
        assert call(f"{base}/api/schema/?format=json")["openapi"]
    with serving(f"{command} --port {port}", base):
        token = call(f"{base}/api/v1/auth/token/", credentials)["access"]
        after = call(f"{base}/api/v1/predictions/{prediction['id']}/", token=token)
    assert after == before, (before, after)
    label = prediction["output"]["label"]
    print(f"Prediction {prediction['id']} ({label}) is the same after the restart.")


@contextlib.contextmanager
def serving(command: str, base: str) -> Iterator[Path]:
    """Run the command until the service is ready; yields its output file, then sends SIGINT."""
    output = Path("smoke.log").resolve()
    with output.open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", command], stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(base):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server did not start:\n{output.read_text()}")
            time.sleep(0.5)
        yield output
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_SECONDS)


def is_ready(base: str) -> bool:
    try:
        call(f"{base}/health/ready/")
    except OSError:
        return False
    return True


def call(url: str, body: object = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url}: {error.code} {error.read().decode()}") from error


if __name__ == "__main__":
    main(sys.argv[1])
