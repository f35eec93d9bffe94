import argparse
import sys

from django.core.management.base import BaseCommand, CommandError

from predictions.models import MAX_PRIVACY_REASON_LENGTH, Erasure
from predictions.retention import erasing
from predictions.retention.errors import ErasureTooLarge, HeldByLaw, NamesSubject
from registry.models import ModelNotFound


class Command(BaseCommand):
    help = (
        "Delete everything that is recorded about a subject, or about a reference: predictions,"
        " shadows, outcomes, results of replays and idempotency keys, in one transaction."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("subject", nargs="?", help="The subject of the predictions.")
        parser.add_argument("--reference", help="Instead of a subject: the predictions' reference.")
        parser.add_argument("--model", default="", metavar="NAME", help="Only this model's.")
        parser.add_argument(
            "--reason",
            required=True,
            help="Why, such as the number of the request. It is kept, so it must not name the"
            " subject.",
        )
        parser.add_argument(
            "--max-rows",
            type=int,
            default=1_000_000,
            metavar="ROWS",
            help="Refuse to delete more predictions than this in one transaction.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Count the rows, and stop.")
        parser.add_argument(
            "--yes", action="store_true", help="Do not ask. Without a terminal, nobody is asked."
        )

    def handle(
        self, *, subject: str | None, reference: str | None, model: str, **options: object
    ) -> None:
        if (subject is None) == (reference is None):
            raise CommandError("Give either a subject or --reference.")
        reason = str(options["reason"]).strip()
        if not 0 < len(reason) <= MAX_PRIVACY_REASON_LENGTH:
            raise CommandError(f"--reason: 1 to {MAX_PRIVACY_REASON_LENGTH} characters.")
        kind = Erasure.Kind.SUBJECT if reference is None else Erasure.Kind.REFERENCE
        name = str(subject if reference is None else reference)
        try:
            rows = erasing.matching_rows(kind, name, model).count()
            if options["dry_run"]:
                self.stdout.write(f"{rows} predictions would be deleted, with all their data.")
                return
            if not options["yes"] and sys.stdin.isatty():
                _ask(rows)
            erasure = erasing.erase(
                kind=kind,
                name=name,
                model=model,
                reason=reason,
                max_rows=int(str(options["max_rows"])),
            )
        except (
            ModelNotFound,
            HeldByLaw,
            ErasureTooLarge,
            NamesSubject,
        ) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(self.style.SUCCESS(f"{erasure} is complete."))
        for what, count in erasure.counts.items():
            self.stdout.write(f"{what.replace('_', ' '):<20} {count}")
        self.stdout.write("It does not reach:")
        for text in erasing.REMAINS:
            self.stdout.write(f"- {text}")


def _ask(rows: int) -> None:
    question = f"Delete {rows} predictions, with all their data? This cannot be undone. [y/N] "
    if input(question).strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was deleted.")
