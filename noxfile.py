"""The tasks of the project: `nox -l` lists them. They run in the current environment."""

import os
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "fast"]

WORKERS = "2"


@nox.session
def fast(session: nox.Session) -> None:
    """The tests that take less than 90 seconds in all on two cores."""
    pytest(session, "-m", "not slow", "-n", WORKERS)


@nox.session
def full(session: nox.Session) -> None:
    """All tests with branch coverage, on DATABASE_URL if it is set, else on PostgreSQL."""
    pytest(session, "-n", WORKERS, "--cov")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff's rules and format, and the configuration of pre-commit."""
    python(session, "ruff", "check", ".")
    python(session, "ruff", "format", "--check", ".")
    python(session, "pre_commit", "validate-config")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    python(session, "mypy")


@nox.session
def project(session: nox.Session) -> None:
    """Migrations are complete, system checks pass, the OpenAPI schema is valid."""
    manage = (sys.executable, "manage.py")
    session.run(*manage, "makemigrations", "--check", "--dry-run")
    session.run(*manage, "check")
    session.run(*manage, "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Generated requests to every operation of the OpenAPI schema; minutes. Takes its options."""
    session.run(sys.executable, ".ci/fuzz.py", *session.posargs)


def pytest(session: nox.Session, *arguments: str) -> None:
    python(session, "pytest", "-q", *arguments, *session.posargs)


def python(session: nox.Session, module: str, *arguments: str) -> None:
    # With the interpreter that runs nox: its environment need not be activated.
    session.run(sys.executable, "-m", module, *arguments)
