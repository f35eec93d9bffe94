"""Temporary checkouts of commits."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.environments import PROJECT
from benchmarks.harness.service import CommandFailed

GIT_TIMEOUT_SECONDS = 120


@contextlib.contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """A worktree of `commit` in `folder`, removed at the end; raises CommandFailed."""
    _git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git("worktree", "prune")


def short_name(commit: str) -> str:
    """The abbreviated hash of a commit; raises CommandFailed if there is no such commit."""
    return _git("rev-parse", "--short", "--verify", f"{commit}^{{commit}}").strip()


def _git(*arguments: str) -> str:
    completed = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_SECONDS,
        check=False,
    )
    if completed.returncode:
        raise CommandFailed(f"git {arguments[0]}: {completed.stderr.strip()}")
    return completed.stdout
