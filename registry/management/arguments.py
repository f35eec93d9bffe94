"""The command-line arguments that describe a version, for the commands that register one."""

import argparse
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.exact_json.values import parse_json
from registry.serializers import ModelVersionRequest


class VersionCommand(BaseCommand):
    """A command that registers a version: its `--version` is the model's, not Django's."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)


def add_version_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="The model's name.")
    parser.add_argument(
        "--version",
        dest="model_version",
        help="Its version; by default, the next whole number of this name.",
    )
    parser.add_argument("--metrics", metavar="JSON", help='Such as {"accuracy": 0.97}.')
    parser.add_argument("--tags", metavar="JSON", help='Such as {"team": "risk"}.')
    parser.add_argument("--description", default="")


def json_argument(option: str, text: str | None) -> Any:
    """The value of a JSON option; CommandError names the option."""
    try:
        return None if text is None else parse_json(text.encode())
    except ValueError as error:
        raise CommandError(f"{option} is not valid JSON: {error}") from error


def version_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `register_model` takes of these arguments, checked as a request would be."""
    tags = json_argument("--tags", options["tags"])
    given = {
        "name": options["name"],
        "metrics": json_argument("--metrics", options["metrics"]),
        "tags": {} if tags is None else tags,
        "description": options["description"],
    }
    if options["model_version"] is not None:
        given["version"] = options["model_version"]
    checked = ModelVersionRequest(data=given, partial=True)
    if not checked.is_valid():
        raise CommandError(
            " ".join(f"--{key}: {' '.join(map(str, said))}" for key, said in checked.errors.items())
        )
    return checked.validated_data
