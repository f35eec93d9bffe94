"""Subprocesses: the project's commands and Python programs, as a user runs them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

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
