"""Options that several commands share."""

import argparse
from pathlib import Path


def add_integer(parser: argparse.ArgumentParser, name: str, default: int, text: str) -> None:
    parser.add_argument(name, type=int, metavar="N", default=default, help=f"{text} ({default})")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")
