import argparse
import time
from typing import cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet
from tqdm import tqdm

from predictions.export import runner
from predictions.export.columns import INPUTS, Inputs
from predictions.export.destinations import open_destination
from predictions.export.destinations.base import Destination, DestinationUnavailable
from predictions.export.formats import FORMATS, FormatUnavailable
from predictions.export.manifest import Plan, Receipt
from predictions.export.selection import Selection
from predictions.filters import PredictionQuery
from predictions.following import LogRestored
from predictions.models import Prediction
from predictions.models.predictions import PredictionQuerySet
from registry.exact_json.values import JSONObject

PART_ROWS = 1_000_000
# For transactions that are open. An import may take much longer.
MAX_WAIT_SECONDS = 30.0


class Command(BaseCommand):
    help = (
        "Export predictions, with their inputs and outcomes, to files in a folder or in object"
        " storage. If an export was interrupted, the same command continues it."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("destination", help="A folder, or a URL such as s3://bucket/prefix.")
        parser.add_argument("--format", choices=FORMATS, default="parquet")
        parser.add_argument(
            "--inputs",
            choices=INPUTS,
            help="Inputs as columns by the signature, as one column of JSON, or both. By default"
            " columns, and JSON in NDJSON.",
        )
        parser.add_argument(
            "--part-rows", type=_positive, default=PART_ROWS, metavar="ROWS", help="Rows of a file."
        )
        parser.add_argument(
            "--from-position",
            type=_positive,
            default=0,
            metavar="NUMBER",
            help="Continue an earlier export: positions.to in its _manifest.json.",
        )
        filters = parser.add_argument_group("filters", "As those of GET /api/v1/predictions/.")
        for name, field in PredictionQuery().fields.items():
            filters.add_argument(
                f"--{_option(name)}", metavar="VALUE", help=str(field.help_text or "")
            )

    def handle(self, *, destination: str, **options: object) -> None:
        filters, rows = _filtered(options)
        try:
            plan = runner.plan_export(
                rows,
                filter=filters,
                format=str(options["format"]),
                inputs=cast(Inputs | None, options["inputs"]),
                part_rows=int(str(options["part_rows"])),
                start=int(str(options["from_position"])),
                mlapi=settings.VERSION,
                max_wait_seconds=MAX_WAIT_SECONDS,
            )
            place = open_destination(destination)
            with place.lock():
                self._export(place, plan, rows)
        except (
            DestinationUnavailable,
            FormatUnavailable,
            LogRestored,
            OSError,
            runner.ExportTaken,
            runner.OtherExport,
        ) as error:
            raise CommandError(str(error)) from error

    def _export(self, place: Destination, plan: Plan, rows: PredictionQuerySet) -> None:
        if manifest := runner.find_manifest(place, plan):
            self._report("was already complete", place, manifest)
            return
        plan, receipts = runner.resume_or_start(place, plan)
        self._warn_of_rows_left_out(Selection(rows, plan.positions))
        done = sum(receipt.rows for receipt in receipts)
        if receipts:
            self.stdout.write(f"Continuing after {done:,} rows in {len(receipts)} parts.")
        manifest = self._run(place, plan, rows, receipts, done)
        self._report("is complete", place, manifest)

    def _warn_of_rows_left_out(self, selection: Selection) -> None:
        if selection.positions.is_behind and selection.leaves_out_rows():
            self.stderr.write(
                self.style.WARNING(
                    "Rows that were committed before this export are left out, because an older"
                    " transaction is still open. Once it has ended, export them to another place"
                    f" with --from-position {selection.positions.end}."
                )
            )

    def _run(
        self,
        place: Destination,
        plan: Plan,
        rows: PredictionQuerySet,
        receipts: list[Receipt],
        done: int,
    ) -> JSONObject:
        started = time.perf_counter()
        with tqdm(
            # As the planner estimates it: to count the rows may take as long as to export them.
            total=Selection(rows, plan.positions).estimate(),
            initial=done,
            unit=" rows",
            desc="Exported",
            file=self.stderr,
            disable=None,
        ) as progress:
            manifest = runner.run(rows, plan, receipts, place, progress.update)
        seconds = time.perf_counter() - started
        count = manifest["rows"] - done
        self.stdout.write(f"{count:,} rows in {seconds:.1f} s, {count / seconds:,.0f} rows/s")
        return manifest

    def _report(self, state: str, place: Destination, manifest: JSONObject) -> None:
        self.stdout.write(
            self.style.SUCCESS(
                f"The export to {place} {state}: {manifest['rows']:,} rows in"
                f" {len(manifest['parts'])} parts. SHA-256 {manifest['sha256']}"
            )
        )


def _filtered(options: dict[str, object]) -> tuple[JSONObject, PredictionQuerySet]:
    """The filters as the manifest has them, and the rows that match; raises CommandError."""
    names = PredictionQuery().fields.keys()
    given = {name: options[name] for name in names if options.get(name) is not None}
    query = PredictionQuery(data=given)
    if not query.is_valid():
        raise CommandError(
            " ".join(
                f"--{_option(name)}: {' '.join(map(str, messages))}"
                for name, messages in query.errors.items()
            )
        )
    rows = Prediction.objects.matching(**query.validated_data)
    assert isinstance(rows, QuerySet)
    return {name: str(value) for name, value in query.validated_data.items()}, rows


def _option(name: str) -> str:
    return name.replace("_", "-")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
