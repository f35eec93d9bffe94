import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from registry.management.reproof import reprove
from registry.models import ModelNotFound, ModelVersion


class Command(BaseCommand):
    help = (
        "Examine how the rows of a version may share a call of its model, for versions that an"
        " earlier release registered. Until then, each of their rows is scored in a call of its"
        " own. A version that cannot be proved again is reported and stays as it is. Restart the"
        " service afterwards."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "versions",
            nargs="*",
            metavar="NAME:VERSION",
            help="By default all active versions that were never examined.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Report only; store nothing.")

    def handle(self, *, versions: list[str], dry_run: bool, **options: Any) -> None:
        selected = [_find(text) for text in versions] if versions else _never_examined()
        problems = 0
        for version in tqdm(selected, unit="model", disable=None, leave=False):
            result = reprove(version, dry_run=dry_run)
            if result.problem:
                problems += 1
                self.stderr.write(f"{version}: {result.problem}")
            else:
                self.stdout.write(f"{version}: {result.batching}")
        if not selected:
            self.stdout.write("Every active version has been examined.")
        if problems:
            raise CommandError(f"{problems} of {len(selected)} versions cannot be proved again.")


def _find(text: str) -> ModelVersion:
    try:
        version = ModelVersion.objects.resolve_specifier(text)
    except ModelNotFound as error:
        raise CommandError(str(error)) from error
    if not version.has_artifact:
        raise CommandError(f"Model {version} has no artifact yet")
    return version


def _never_examined() -> list[ModelVersion]:
    rows = ModelVersion.objects.active().exclude(artifact="").newest_first()
    return [version for version in rows if "batching" not in version.signature]
