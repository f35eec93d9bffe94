"""Command-line arguments that describe a version, for the commands that register one."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework.exceptions import ValidationError

from registry.exact_json.values import JSONObject, parse_json
from registry.serializers import ModelVersionRequest

Value = TypeVar("Value")


class VersionFields(TypedDict, total=False):
    """Arguments of `services.register_model` that come from the command line.

    `version` is absent if none is given.
    """

    name: str
    version: str
    metrics: JSONObject | None
    tags: JSONObject
    description: str
    max_concurrency: int
    timeout_seconds: float


class VersionCommand(BaseCommand):
    """A command that registers a version; its `--version` is the model's and not Django's."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)


def add_version_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="The name of the model.")
    parser.add_argument(
        "--version",
        dest="model_version",
        help="The version; defaults to the name's next whole number.",
    )
    parser.add_argument("--metrics", metavar="JSON", help='For example {"accuracy": 0.97}.')
    parser.add_argument("--tags", metavar="JSON", help='For example {"team": "risk"}.')
    parser.add_argument("--description", default="")
    parser.add_argument(
        "--max-concurrency",
        metavar="N",
        help="Callers that each worker may keep waiting for the version while it is slow.",
    )
    parser.add_argument(
        "--timeout-seconds", metavar="S", help="Seconds within which the version must answer."
    )


def version_fields(options: Mapping[str, Any]) -> VersionFields:
    """Read and validate these arguments as a request would be; raises CommandError."""
    tags = parse_json_option("--tags", options["tags"])
    fields = {
        "name": options["name"],
        "metrics": parse_json_option("--metrics", options["metrics"]),
        "tags": {} if tags is None else tags,
        "description": options["description"],
    }
    optional = ("model_version", "max_concurrency", "timeout_seconds")
    fields |= {
        name.removeprefix("model_"): options[name] for name in optional if options[name] is not None
    }
    request = ModelVersionRequest(data=fields, partial=True)
    if not request.is_valid():
        errors = request.errors.items()
        raise CommandError(
            " ".join(
                f"--{name.replace('_', '-')}: {' '.join(map(str, messages))}"
                for name, messages in errors
            )
        )
    validated: VersionFields = request.validated_data
    return validated


def parse_json_option(option: str, text: str | None) -> object:
    """The value of a JSON option, None if it is not given; CommandError names the option."""
    try:
        return None if text is None else parse_json(text.encode())
    except ValueError as error:
        raise CommandError(f"{option} is not valid JSON: {error}") from error


def validate_option(
    option: str, validate: Callable[[object], Value], value: object
) -> Value | None:
    """Validate an option's value, None if it is not given; CommandError names the option."""
    if value is None:
        return None
    try:
        return validate(value)
    except ValidationError as error:
        detail = error.detail if isinstance(error.detail, list) else [error.detail]
        raise CommandError(f"{option}: {' '.join(map(str, detail))}") from error
