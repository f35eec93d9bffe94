import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from registry.management.storages import current_address, reason, store_of
from registry.storage import files, sweeping
from registry.storage.stores.base import Store

MAX_HOURS = 24 * 3650


class Command(BaseCommand):
    help = (
        "Find artifacts in a storage that no version has, such as those of failed"
        " registrations, and delete them with --delete. A file is deleted only while nobody can"
        " register the same content. The storage must belong to this database alone."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--storage",
            metavar="PLACE",
            help="MODEL_PATH, or a URL such as s3://bucket/prefix; by default where new artifacts"
            " are kept.",
        )
        parser.add_argument("--delete", action="store_true", help="Delete what is found.")
        parser.add_argument(
            "--older-than-hours",
            type=_hours,
            default=24,
            help="Leave what was written since then alone (24).",
        )

    def handle(
        self, *, storage: str | None, delete: bool, older_than_hours: int, **options: Any
    ) -> None:
        store = store_of(storage or current_address())
        before = timezone.now() - timedelta(hours=older_than_hours)
        try:
            found = list(sweeping.orphans(store, before=before))
            if delete and found:
                self._require_versions(store)
            count = size_bytes = 0
            for entry in found:
                if not delete or sweeping.delete_orphan(store, entry):
                    self.stdout.write(entry.key)
                    count += 1
                    size_bytes += entry.size_bytes
        except OSError as error:
            raise CommandError(reason(error)) from error
        action = "Deleted" if delete else "Found"
        hint = "" if delete or not count else ". Delete them with --delete"
        self.stdout.write(
            f"{action} {count} artifacts without a version in {store},"
            f" {filesizeformat(size_bytes)}{hint}"
        )

    def _require_versions(self, store: Store) -> None:
        """With the wrong database, all artifacts of another one would be deleted."""
        if not files.rows_in(store).exists():
            raise CommandError(
                f"No version of this database has its artifact in {store}. Check DATABASE_URL and"
                " the storage. Nothing was deleted."
            )


def _hours(text: str) -> int:
    if not text.isdecimal() or not int(text) <= MAX_HOURS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MAX_HOURS}")
    return int(text)
