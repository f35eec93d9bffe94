"""Runs in the environment of an installation: sends the request and prints the files, as JSON.

`python crossing_probe.py ROW`, with the root of a checkout as working directory. It loads the
application by its WSGI address, as a server does, and talks to it in WSGI alone.
"""

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType

APPLICATION = ("mlapi.wsgi", "application")
PACKAGES = {"mlapi", "predictions", "registry"}
WARM_UPS = 3

Application = Callable[[dict[str, object], Callable[..., None]], Iterable[bytes]]


class Recorder:
    """A profile function that collects the files of all calls while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if self.is_on and event == "call":
            self.files.add(frame.f_code.co_filename)


def main(row: list[float]) -> None:
    recorder = Recorder()
    # Before the application starts threads: a thread is only profiled from its start.
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    sys.path.insert(0, str(Path.cwd()))
    module, name = APPLICATION
    application: Application = getattr(import_module(module), name)
    credentials = {
        "username": os.environ["PROBE_USERNAME"],
        "password": os.environ["PROBE_PASSWORD"],
    }
    token = post(application, "/api/v1/auth/token/", credentials)["access"]
    body = {"model": "iris", "input_data": {"features": row}}
    for _ in range(WARM_UPS):
        post(application, "/api/v1/predictions/", body, token)
    recorder.is_on = True
    post(application, "/api/v1/predictions/", body, token)
    recorder.is_on = False
    print(json.dumps(sorted(project_files(recorder.files))))


def project_files(files: Iterable[str]) -> Iterator[str]:
    """Those of `files` that belong to the project, relative to its root."""
    root = Path.cwd()
    for file in map(Path, files):
        if file.is_relative_to(root):
            path = file.relative_to(root)
            if path.parts[0] in PACKAGES:
                yield str(path)


def post(application: Application, path: str, body: object, token: str = "") -> dict[str, str]:
    content = json.dumps(body).encode()
    environ: dict[str, object] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(content),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    statuses: list[str] = []
    response = application(environ, lambda status, *_: statuses.append(status))
    result = b"".join(response)
    if close := getattr(response, "close", None):
        close()
    if not statuses[0].startswith("20"):
        sys.exit(f"POST {path} responded {statuses[0]}: {result[:300]!r}")
    parsed: dict[str, str] = json.loads(result)
    return parsed


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
