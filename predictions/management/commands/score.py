import argparse
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from predictions.export.destinations.base import DestinationUnavailable
from predictions.export.formats import FORMATS, FormatUnavailable
from predictions.scoring.engines.options import ENGINES, EngineOptions
from predictions.scoring.runs.requests import PART_ROWS, Request, Watch, running_module
from predictions.scoring.work import (
    EngineUnavailable,
    Receipt,
    ScoringFailed,
    ScoringInterrupted,
    Source,
)
from registry.artifacts.errors import StorageUnavailable
from registry.exact_json.values import JSONObject
from registry.loading.errors import ArtifactMissing, ModelQuarantined
from registry.models import ModelNotFound
from registry.object_storage import urls

if TYPE_CHECKING:
    from predictions.scoring.planning import Plan
    from predictions.scoring.runs.pinning import Pinned

SHOWN_ERRORS = 5


class Command(BaseCommand):
    help = (
        "Score the rows of Parquet, CSV or NDJSON files with a version, and write a table of the"
        " answers. If a run was interrupted, the same command continues it."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--from",
            dest="sources",
            action="append",
            required=True,
            metavar="FILES",
            help="A file, or a pattern such as 'data/*.parquet'. May be repeated.",
        )
        parser.add_argument(
            "--to",
            dest="destination",
            required=True,
            metavar="PLACE",
            help="A folder, or a URL such as s3://bucket/prefix.",
        )
        parser.add_argument(
            "--model",
            required=True,
            metavar="NAME[:VERSION|@ALIAS]",
            help="A name alone means its champion alias. It is resolved once, at the start.",
        )
        self._add_result(parser)
        self._add_canary(parser)
        self._add_engine(parser)

    def _add_result(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--format", choices=list(FORMATS), default="parquet")
        parser.add_argument(
            "--id-column", metavar="NAME", help="A column of the inputs to copy into the result."
        )
        parser.add_argument(
            "--part-rows",
            type=_positive,
            default=PART_ROWS,
            metavar="ROWS",
            help="Rows of a part of Parquet, in whole row groups.",
        )
        parser.add_argument(
            "--record",
            action="store_true",
            help="Record each row in the prediction log as well, as requests are. Without it, the"
            " result's _manifest.json is the record.",
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="Go on with the versions that the interrupted run at --to began with, whatever"
            " the alias means now.",
        )

    def _add_canary(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--canary",
            action="store_true",
            help="Let the alias's canary answer its share of the subjects, as the service does.",
        )
        parser.add_argument(
            "--subject-column",
            metavar="NAME",
            help="The column with the subject of each row, by which its version is chosen.",
        )

    def _add_engine(self, parser: argparse.ArgumentParser) -> None:
        engine = parser.add_argument_group("engine", "Every engine gives the same result.")
        engine.add_argument("--engine", choices=ENGINES, default="local")
        engine.add_argument(
            "--workers",
            type=_positive,
            default=_cores(),
            metavar="N",
            help="Processes of this machine; by default one for each core.",
        )
        engine.add_argument(
            "--scheduler",
            metavar="tls://HOST:PORT",
            help="Of a running Dask cluster. Without it, --engine dask starts one on this machine.",
        )
        for name, what in (("ca", "authority"), ("cert", "certificate"), ("key", "key")):
            engine.add_argument(f"--tls-{name}", metavar="FILE", help=f"The {what} of the cluster.")
        engine.add_argument(
            "--allow-insecure-scheduler",
            action="store_true",
            help="Allow tcp://, where anybody who reaches the scheduler can run code.",
        )

    def handle(self, **options: Any) -> None:
        try:
            request, running = _request(options), running_module()
            engine = running.open_engine(_engine_options(options))
            sources = running.find_inputs(request)
            started = time.perf_counter()
            with ExitStack() as stack:
                progress = _Progress(self, stack)
                pinned = running.pinned_at(request) if options["resume"] else None
                plan = self._plan(request, sources, pinned)
                manifest, was_complete = running.carry_out(plan, engine, progress.watch())
        except (
            ArtifactMissing,
            DestinationUnavailable,
            EngineUnavailable,
            FormatUnavailable,
            ModelNotFound,
            ModelQuarantined,
            ScoringFailed,
            StorageUnavailable,
        ) as error:
            raise CommandError(str(error)) from error
        except ScoringInterrupted as error:
            raise CommandError(f"{error}. The same command continues the run.") from error
        self._report(request, manifest, progress, time.perf_counter() - started, was_complete)

    def _plan(self, request: Request, sources: Sequence[Source], pinned: "Pinned | None") -> "Plan":
        running = running_module()
        with self._bar("Read", " B", sum(source.size_bytes for source in sources)) as bar:
            plan: Plan = running.plan_run(request, sources, Watch(read=bar.update), pinned)
            return plan

    def _bar(self, what: str, unit: str, total: int | None, initial: int = 0) -> "tqdm[Any]":
        return tqdm(
            total=total,
            initial=initial,
            unit=unit,
            unit_scale=unit == " B",
            desc=what,
            file=self.stderr,
            # No bar if the output is not a terminal.
            disable=None,
        )

    def _report(
        self,
        request: Request,
        manifest: JSONObject,
        progress: "_Progress",
        seconds: float,
        was_complete: bool,
    ) -> None:
        for error in manifest["errors"][:SHOWN_ERRORS]:
            self.stderr.write(f"{error['file']}, row {error['row']}: {error['error']}")
        if failed := manifest["failed"]:
            self.stderr.write(
                self.style.WARNING(
                    f"{failed:,} of {manifest['rows']:,} rows have an error instead of an answer:"
                    " see the column error."
                )
            )
        if not was_complete:
            rows = progress.rows
            self.stdout.write(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
        state = "was already complete" if was_complete else "is complete"
        names = " and ".join(
            version["name"]
            for version in (
                manifest["instructions"]["arms"]["primary"],
                manifest["instructions"]["arms"]["canary"],
            )
            if version
        )
        self.stdout.write(
            self.style.SUCCESS(
                f"{request.destination} {state}: {manifest['rows']:,} rows answered by {names} in"
                f" {len(manifest['parts'])} parts. SHA-256 {manifest['sha256']}"
            )
        )


class _Progress:
    """Shows how many rows are done; `rows` are those of this run."""

    def __init__(self, command: Command, stack: ExitStack) -> None:
        self._command, self._stack = command, stack
        self._bar: tqdm[Any] | None = None
        self.rows = 0

    def watch(self) -> Watch:
        return Watch(planned=self._planned, done=self._done)

    def _planned(self, plan: "Plan", done: Sequence[Receipt]) -> None:
        rows = sum(receipt.rows for receipt in done)
        if done:
            self._command.stdout.write(
                f"Continuing after {rows:,} rows in {len(done)} of {len(plan.tasks)} parts."
            )
        known = [task.rows for task in plan.tasks]
        total = None if None in known else sum(task.rows or 0 for task in plan.tasks)
        self._bar = self._stack.enter_context(
            self._command._bar("Scored", " rows", total, initial=rows)
        )

    def _done(self, receipt: Receipt) -> None:
        assert self._bar is not None
        self.rows += receipt.rows
        self._bar.update(receipt.rows)


def _request(options: dict[str, Any]) -> Request:
    destination = options["destination"]
    if not urls.is_url(destination):
        # Workers have another working directory.
        destination = os.path.abspath(destination)
    return Request(
        sources=options["sources"],
        destination=destination,
        model=options["model"],
        format=options["format"],
        id_column=options["id_column"],
        subject_column=options["subject_column"],
        with_canary=options["canary"],
        is_recorded=options["record"],
        part_rows=options["part_rows"],
    )


def _engine_options(options: dict[str, Any]) -> EngineOptions:
    certificates = [options[f"tls_{name}"] for name in ("ca", "cert", "key")]
    if None in certificates and any(certificates):
        raise CommandError("--tls-ca, --tls-cert and --tls-key belong together.")
    return EngineOptions(
        name=options["engine"],
        workers=options["workers"],
        scheduler=options["scheduler"],
        certificates=None if None in certificates else tuple(certificates),
        is_insecure_allowed=options["allow_insecure_scheduler"],
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
