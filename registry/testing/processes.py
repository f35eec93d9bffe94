"""Subprocesses: the project's commands and Python programs, as a user runs them; and the sandbox
without its process, for tests of very many files.
"""

import json
import os
import runpy
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from django.conf import LazySettings

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.exact_json.values import JSONObject

PROJECT = Path(__file__).resolve().parents[2]
MANAGE = str(PROJECT / "manage.py")


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` with `environment` added to the tests' own; a failure is not raised."""
    return subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in the project's folder, with the environment of `manage`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def free_port() -> int:
    """A TCP port of loopback on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def in_process_sandbox(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> None:
    """Run what `sandbox.run` runs in this process, and score there: milliseconds instead of seconds
    for each file.

    The limits do not hold, and a file that crashes its parser ends the tests.
    """
    settings.MODEL_ISOLATION = "never"
    handlers: dict[str, Callable[[JSONObject], Mapping[str, object]]] = {}

    def run(module: str, request: Mapping[str, object], **limits: object) -> JSONObject:
        if module not in handlers:
            handlers[module] = _handler(module, monkeypatch)
        # As between the processes: only JSON passes, and every exception is a rejection.
        try:
            reply = handlers[module](json.loads(json.dumps(request)))
        except ArtifactRejected:
            raise
        except Exception as error:
            raise ArtifactRejected(f"The model failed: {type(error).__name__}: {error}") from error
        parsed: JSONObject = json.loads(json.dumps(reply))
        return parsed

    monkeypatch.setattr(sandbox, "run", run)


def _handler(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[JSONObject], Mapping[str, object]]:
    """What that module passes to `sandbox.serve` when it is run with `python -m`."""
    served: list[Callable[[JSONObject], Mapping[str, object]]] = []
    with monkeypatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sandbox, "serve", served.append)
        # runpy warns that the module was imported before: here it always was.
        warnings.simplefilter("ignore", RuntimeWarning)
        runpy.run_module(module, run_name="__main__")
    return served[0]
