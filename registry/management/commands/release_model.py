"""`manage.py release_model name:version`: end a version's quarantine."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.loading import quarantine
from registry.models import ModelNotFound, ModelVersion


class Command(BaseCommand):
    help = "Release a version from quarantine, so that it answers predictions again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="the version, as name:version, or an alias's version")
        parser.add_argument(
            "--trust",
            action="store_true",
            help="score it in the workers again, instead of in a process of its own",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            version = ModelVersion.objects.resolve_specifier(options["model"])
        except ModelNotFound as error:
            raise CommandError(str(error)) from error
        if quarantine.release(version, is_trusted=options["trust"]):
            place = "in the workers" if options["trust"] else "in a process of its own"
            self.stdout.write(f"Released {version}; it is scored {place}")
        else:
            self.stdout.write(f"{version} has not crashed since it was last released")
