"""What `manage.py serve` tells the server process, as command line arguments."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

# Of a worker: for the database, models and log files.
OTHER_DESCRIPTORS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """All numbers are integers, so that they pass through a command line unchanged.

    health_port 0 means that the server has no such port.
    """

    host: str
    port: int
    workers: int
    threads: int
    pin: bool
    with_worker: bool
    health_port: int
    worker_timeout_seconds: int
    max_connections: int
    # The database did not answer when the server was started: see `databases.startup`.
    check_database: bool

    def arguments(self) -> list[str]:
        """The arguments from which `parse` makes equal options."""
        return [f"--{field.name}={_text(getattr(self, field.name))}" for field in fields(self)]


def parse(arguments: Sequence[str]) -> Options:
    """The options of a command line; exits with a message if they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m mlapi.server", allow_abbrev=False)
    for field in fields(Options):
        converter = CONVERTERS[field.type]
        parser.add_argument(f"--{field.name}", type=converter, required=True)
    return Options(**vars(parser.parse_args(arguments)))


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text]


CONVERTERS: Mapping[object, Callable[[str], object]] = {str: str, int: int, bool: _boolean}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
