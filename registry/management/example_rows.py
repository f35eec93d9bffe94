"""The example rows of `register_model`, from `--example` or from a file."""

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

from django.core.management.base import CommandError

from registry.exact_json.values import parse_json, parse_json_body
from registry.management.arguments import parse_json_option, validate_option
from registry.serializers import MAX_EXAMPLE_ROWS, ExampleField


def add_example_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--example", metavar="JSON", help="A list of rows that the model must be able to score."
    )
    group.add_argument(
        "--example-file",
        metavar="FILE",
        type=Path,
        help="A file of such rows: one JSON list, or one row per line.",
    )


def read_example(options: Mapping[str, object], *, is_unlimited: bool) -> list[object]:
    """The validated example rows of the options; raises CommandError.

    There may be at most MAX_EXAMPLE_ROWS unless `is_unlimited`.
    """
    option, rows = _read_rows(options)
    if not is_unlimited or not isinstance(rows, list):
        return validate_option(option, ExampleField().run_validation, rows) or []
    validated: list[object] = []
    for start in range(0, len(rows), MAX_EXAMPLE_ROWS):
        part = rows[start : start + MAX_EXAMPLE_ROWS]
        validated += validate_option(option, ExampleField().run_validation, part) or []
    return validated


def _read_rows(options: Mapping[str, object]) -> tuple[str, object]:
    """The name of the option in use, and its value, which is not validated yet."""
    path, text = options["example_file"], options["example"]
    if isinstance(path, Path):
        return "--example-file", _read_file(path)
    return "--example", parse_json_option("--example", text if isinstance(text, str) else None)


def _read_file(path: Path) -> list[object]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandError(f"--example-file cannot be read: {error}") from error
    with contextlib.suppress(ValueError):
        rows = parse_json_body(content)
        # A list of numbers is a single row, on the only line of a file with a row per line.
        if isinstance(rows, list) and rows and isinstance(rows[0], list | dict):
            return rows
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            rows.append(parse_json_body(line) if number == 1 else parse_json(line))
        except ValueError as error:
            raise CommandError(
                f"--example-file: line {number} is not valid JSON: {error}"
            ) from error
    return rows
