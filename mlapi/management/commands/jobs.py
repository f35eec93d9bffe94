import argparse
from collections.abc import Callable

import orjson
from django.core.management.base import BaseCommand, CommandError

from predictions.jobs import changes, kinds
from predictions.models import Job, JobNotFound
from predictions.models.jobs import JobQuerySet

MAX_SHOWN_ERRORS = 20
MAX_SHOWN_JOBS = 100_000


class Command(BaseCommand):
    help = "Look at jobs, cancel them, and start failed ones again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listed = actions.add_parser("list", help="The newest jobs.")
        listed.add_argument("--kind", choices=[kind.name for kind in kinds.registered()])
        listed.add_argument("--status", choices=Job.Status.values)
        listed.add_argument("--model", metavar="NAME")
        listed.add_argument("--limit", type=_limit, default=20, metavar="ROWS")
        for name, help_text in (
            ("show", "One job with its parameters, its result and its first errors."),
            ("cancel", "End jobs: queued ones at once, running ones at their next step."),
            ("retry", "Start failed or cancelled jobs again, after their last checkpoint."),
        ):
            action = actions.add_parser(name, help=help_text)
            action.add_argument("ids", type=int, nargs=1 if name == "show" else "+", metavar="ID")

    def handle(self, *, action: str, **options: object) -> None:
        if action == "list":
            self._list(options)
            return
        ids = options["ids"]
        assert isinstance(ids, list)
        for pk in ids:
            try:
                job = Job.objects.select_related("created_by").find(pk)
                if action == "show":
                    self._show(job)
                else:
                    change: Callable[[Job], Job] = getattr(changes, action)
                    self._describe(change(job))
            except (JobNotFound, changes.JobEnded, changes.JobNotRetriable) as error:
                raise CommandError(str(error)) from error

    def _list(self, options: dict[str, object]) -> None:
        rows: JobQuerySet = Job.objects.newest_first().matching(
            **{name: options[name] for name in ("kind", "status", "model")}  # type: ignore[arg-type]
        )
        for job in rows.defer("parameters", "cursor", "result")[: int(str(options["limit"]))]:
            self._describe(job)

    def _describe(self, job: Job) -> None:
        expected = "" if job.rows_expected is None else f" of {job.rows_expected:,}"
        status = "cancelling" if job.is_cancel_requested else job.status
        self.stdout.write(
            f"{job.pk:>6}  {job.created_at:%Y-%m-%d %H:%M}  {status:<10} {job.kind:<12}"
            f" {job.model_name or '-':<20} {job.rows_done:,}{expected} rows {job.error}".rstrip()
        )

    def _show(self, job: Job) -> None:
        self._describe(job)
        self.stdout.write(f"created by  {job.created_by or '-'}")
        for name in ("started_at", "finished_at", "due_at", "attempts"):
            self.stdout.write(f"{name.replace('_', ' '):<11} {getattr(job, name) or '-'}")
        for name in ("parameters", "cursor", "result"):
            value = orjson.dumps(getattr(job, name), option=orjson.OPT_INDENT_2).decode()
            self.stdout.write(f"{name:<11} {value}")
        self.stdout.write(f"row errors  {job.error_count:,}")
        for error in job.errors.in_order()[:MAX_SHOWN_ERRORS]:
            self.stdout.write(f"  row {error.position} {error.reference}: {error.message}")


def _limit(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_SHOWN_JOBS:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MAX_SHOWN_JOBS}")
