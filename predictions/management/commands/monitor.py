import argparse
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from predictions.evaluation.counting.work import count_due
from predictions.evaluation.monitoring.work import report_due
from predictions.management.commands.prune_predictions import moment
from predictions.models import Monitor, MonitorReport, Severity


class Command(BaseCommand):
    help = (
        "Compare the windows that have ended with the references of their versions, and open and"
        " close alerts. What has been reported is not reported again, so that it can run at any"
        " time and in several places. New predictions are counted first."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "--due",
            action="store_true",
            help="The windows since the last report of each version; of a version without a report"
            " the last one.",
        )
        which.add_argument(
            "--since",
            type=moment,
            metavar="WHEN",
            help="All windows that begin at this date or ISO 8601 time, or later, and have no"
            " report. Past windows change no alerts if later ones have a report.",
        )
        parser.add_argument("--model", metavar="NAME", help="Only monitors of this model.")
        parser.add_argument("--monitor", metavar="NAME", help="Only monitors of this name.")

    def handle(
        self,
        *,
        since: datetime | None,
        model: str | None,
        monitor: str | None,
        **options: object,
    ) -> None:
        _require_monitors(model, monitor)
        with tqdm(unit=" rows", desc="Counted", file=self.stderr, disable=None) as progress:
            count_due(committing=progress.update)
        with tqdm(unit=" windows", desc="Reported", file=self.stderr, disable=None) as bar:

            def show(report: MonitorReport) -> None:
                bar.update()
                if report.status == MonitorReport.Status.ALARM:
                    # tqdm's own `write` ends the line once more.
                    with tqdm.external_write_mode(file=self.stdout):
                        self.stdout.write(_describe(report))

            totals = report_due(model=model, name=monitor, since=since, on_report=show)
        summary = f"Reported {totals.reported} windows, {totals.alarms} of them with alarms."
        if totals.failed:
            raise CommandError(f"{summary} {totals.failed} could not be reported; see the log.")
        self.stdout.write(self.style.SUCCESS(summary))


def _require_monitors(model: str | None, name: str | None) -> None:
    """A misspelt name must not look like a run without anything due."""
    monitors = Monitor.objects.matching(model=model)
    if name is not None:
        monitors = monitors.filter(name=name)
    if (model or name) and not monitors.exists():
        of = f" of model {model}" if model else ""
        raise CommandError(f"There is no monitor {name or ''}{of}".replace("  ", " "))


def _describe(report: MonitorReport) -> str:
    alarms: list[dict[str, Any]] = [found for found in report.findings if found["severity"]]
    worst = next((found for found in alarms if found["severity"] == Severity.SEVERE), alarms[0])
    others = f" (and {len(alarms) - 1} more)" if len(alarms) > 1 else ""
    return (
        f"{report.model} until {report.until:%Y-%m-%d %H:%M}: {worst['severity']}:"
        f" {worst['reason']}{others}"
    )
