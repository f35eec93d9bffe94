import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from predictions.evaluation.references import scoring, services
from predictions.evaluation.references.errors import ReferenceRefused
from predictions.evaluation.references.serializers import ReferenceOfLog
from predictions.evaluation.replays.plan import find_version
from predictions.evaluation.replays.serializers import VersionField
from predictions.input_files.errors import FileRefused
from predictions.input_files.reading import FORMATS, format_of
from predictions.models import Reference
from registry.access.accessor import SYSTEM
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.models import ModelNotFound, ModelVersion


class Command(BaseCommand):
    help = (
        "Set the reference of a version, with which monitors compare its predictions: from a file"
        " of rows, usually its training data, or from a window of the log. The same rows again"
        " change nothing."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("version", metavar="VERSION", help="name:version, or an ID.")
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            help=f"Rows with the version's features: {', '.join(FORMATS)}. The version answers"
            " them. Columns that are no features are ignored.",
        )
        parser.add_argument(
            "--label-column",
            metavar="NAME",
            help="The column of the file with the true classes or values.",
        )
        parser.add_argument(
            "--since", metavar="WHEN", help="Of the log: predictions made at this time or later."
        )
        parser.add_argument(
            "--until", metavar="WHEN", help="Of the log: predictions made before this time."
        )
        parser.add_argument("--description", default="")

    def handle(self, *, version: str, file: Path | None, **options: Any) -> None:
        is_log = options["since"] is not None or options["until"] is not None
        if (file is None) != is_log:
            raise CommandError("Give either a file, or --since and --until.")
        if is_log and options["label_column"] is not None:
            raise CommandError("--label-column is of a file; a window has its outcomes.")
        try:
            found = find_version(VersionField().run_validation(version), SYSTEM)
            before = Reference.objects.filter(model=found).order_by("-id").first()
            reference = (
                self._of_log(found, options)
                if file is None
                else self._of_file(found, file, options)
            )
        except ValidationError as error:
            raise CommandError(f"{version}: must be name:version, or an ID") from error
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error}") from error
        except (
            ModelNotFound,
            ArtifactMissing,
            FileRefused,
            ModelNotReady,
            ModelQuarantined,
            ReferenceRefused,
        ) as error:
            raise CommandError(str(error)) from error
        self._report(found, reference, is_new=before is None or before.pk != reference.pk)

    def _of_file(self, version: ModelVersion, file: Path, options: dict[str, Any]) -> Reference:
        with self._progress("Answered") as progress:
            return scoring.set_from_file(
                version,
                file,
                format_of(file.name),
                label_column=options["label_column"],
                description=options["description"],
                progress=progress.update,
            )

    def _of_log(self, version: ModelVersion, options: dict[str, Any]) -> Reference:
        window = {"from": options["since"], "to": options["until"]}
        payload = ReferenceOfLog(
            data={
                **{name: value for name, value in window.items() if value is not None},
                "description": options["description"],
            }
        )
        if not payload.is_valid():
            names = {"from": "--since", "to": "--until"}
            raise CommandError(
                " ".join(
                    f"{names.get(name, name)}: {' '.join(map(str, messages))}"
                    for name, messages in payload.errors.items()
                )
            )
        with self._progress("Read") as progress:
            return services.set_from_log(
                version, progress=progress.update, **payload.validated_data
            )

    def _progress(self, what: str) -> "tqdm[Any]":
        # disable=None: no bar if the output is not a terminal.
        return tqdm(unit=" rows", desc=what, file=self.stderr, disable=None)

    def _report(self, version: ModelVersion, reference: Reference, *, is_new: bool) -> None:
        if not is_new:
            self.stdout.write(f"{version} already has this reference: {reference.digest}")
            return
        labelled = f", {reference.labelled_rows:,} with a label" if reference.labelled_rows else ""
        self.stdout.write(
            self.style.SUCCESS(
                f"{reference.rows:,} rows{labelled} are the reference of {version}:"
                f" {reference.digest}"
            )
        )
        for note in reference.profile["notes"]:
            self.stdout.write(note)
        if failed := reference.profile["counts"]["failed"]:
            self.stdout.write(self.style.WARNING(f"The model failed on {failed:,} of the rows."))
