import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Sum
from tqdm import tqdm

from registry.artifacts.errors import ArtifactRejected, StorageUnavailable
from registry.management.storages import reason, store_of
from registry.models import ModelVersion
from registry.storage import files, moving
from registry.storage.stores.base import Store


class Command(BaseCommand):
    help = (
        "Copy the artifacts of all versions from one storage to another, verify them, and use them"
        " there from then on. The service may run, if it can reach both. It is safe to run again"
        " after an interruption. First set MODEL_STORAGE to the new place, so that new artifacts"
        " are kept there."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        place = "MODEL_PATH, or a URL such as s3://bucket/prefix."
        parser.add_argument("--from", dest="source", metavar="PLACE", required=True, help=place)
        parser.add_argument("--to", dest="target", metavar="PLACE", required=True, help=place)
        parser.add_argument(
            "--delete-source",
            action="store_true",
            help="Afterwards, delete what no version uses at the old place and the new place has.",
        )

    def handle(self, *, source: str, target: str, delete_source: bool, **options: Any) -> None:
        old, new = store_of(source), store_of(target)
        if str(old) == str(new):
            raise CommandError("--from and --to are the same place.")
        try:
            new.check()
            problems = self._move(old, new)
            if delete_source:
                self._delete(old, new)
        except OSError as error:
            raise CommandError(f"{reason(error)}. Run the command again.") from error
        if problems:
            raise CommandError(f"{problems} versions could not be moved.")

    def _move(self, source: Store, target: Store) -> int:
        """Move what can be moved; return how many versions cannot."""
        rows = files.rows_in(source).order_by("pk")
        total_bytes = rows.aggregate(total=Sum("size_bytes"))["total"] or 0
        moved = problems = 0
        with tqdm(
            total=total_bytes,
            unit="B",
            unit_scale=True,
            desc="Moved",
            file=self.stderr,
            disable=None,
        ) as progress:
            for pk in list(rows.values_list("pk", flat=True)):
                version = rows.filter(pk=pk).first()
                if version is None:
                    continue
                problem = self._move_one(version, target)
                if problem:
                    problems += 1
                    self.stderr.write(f"{version}: {problem}")
                else:
                    moved += 1
                progress.update(version.size_bytes or 0)
        self.stdout.write(f"Moved {moved} versions from {source} to {target}")
        return problems

    def _move_one(self, version: ModelVersion, target: Store) -> str:
        """Why the version cannot be moved, or ""; raises StorageUnavailable."""
        try:
            # If it was deleted meanwhile, nothing is left to be moved.
            moving.move(version, target)
        except StorageUnavailable:
            raise
        except FileNotFoundError:
            return f"there is no {files.location(version)}"
        except (OSError, ArtifactRejected) as error:
            return str(error)
        return ""

    def _delete(self, source: Store, target: Store) -> None:
        deleted = 0
        for entry in moving.moved_files(source, target):
            deleted += files.remove_unheld(source.artifact(entry.key))
        self.stdout.write(f"Deleted {deleted} artifacts from {source}")
