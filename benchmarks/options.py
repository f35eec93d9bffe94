"""Options that several commands share."""

import argparse
from pathlib import Path

from benchmarks.harness.environments import PROJECT


def add_integer(parser: argparse.ArgumentParser, name: str, default: int, text: str) -> None:
    parser.add_argument(name, type=int, metavar="N", default=default, help=f"{text} ({default})")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")


def add_system(parser: argparse.ArgumentParser) -> None:
    """What is served, and on which database."""
    add_integer(parser, "--workers", 2, "processes of the server")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument(
        "--checkout", type=Path, default=PROJECT, help="serve this checkout of mlapi instead"
    )
