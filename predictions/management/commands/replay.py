import argparse
import os
import time
from collections.abc import Mapping
from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from predictions.evaluation.figures import percent
from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import InputsMasked, Plan, find_version
from predictions.evaluation.replays.serializers import ReplayRequest
from predictions.models import Replay, ReplayNotFound
from registry.exact_json.values import JSONObject
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.models import ModelNotFound

OPTIONS = ("from", "to", "since", "until", "limit", "tolerance", "name")
# Serving has priority.
NICENESS = 10
MAX_SHOWN_CLASS_PAIRS = 5


class Command(BaseCommand):
    help = (
        "Score the recorded inputs of a version with another version and compare the answers. If a"
        " replay was interrupted, the same command continues it."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--from", metavar="VERSION", help="The recorded version: name:version, or an ID."
        )
        parser.add_argument(
            "--to",
            metavar="VERSION",
            help="The version that answers the recorded inputs again: name:version, or an ID.",
        )
        parser.add_argument(
            "--since", metavar="WHEN", help="Only predictions made at this time or later."
        )
        parser.add_argument(
            "--until", metavar="WHEN", help="Only predictions made before this time."
        )
        parser.add_argument(
            "--limit", metavar="ROWS", help="The maximum number of rows; the newest are taken."
        )
        parser.add_argument(
            "--tolerance",
            metavar="NUMBER",
            help="Values that differ by at most this agree; by default only rounding may differ.",
        )
        parser.add_argument("--name", help="A name for the replay.")
        parser.add_argument(
            "--resume", type=int, metavar="ID", help="Continue the replay with this ID."
        )
        parser.add_argument(
            "--min-agreement",
            type=_share,
            metavar="SHARE",
            help="Fail if the agreement is below this share, such as 0.98.",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        # Not in handle(): call_command would lower the priority of the caller's process.
        with suppress(OSError):
            os.nice(NICENESS)
        super().run_from_argv(argv)

    def handle(self, *, resume: int | None, min_agreement: float | None, **options: object) -> None:
        parameters = {name: options[name] for name in OPTIONS if options[name] is not None}
        try:
            replay = _find(resume, parameters) if resume is not None else _find_or_start(parameters)
            if replay.report is None:
                self._run(replay)
        except (
            ModelNotFound,
            ArtifactMissing,
            ModelNotReady,
            ModelQuarantined,
            ReplayNotFound,
            InputsMasked,
            runner.ReplayTaken,
        ) as error:
            raise CommandError(str(error)) from error
        report: JSONObject = replay.report or {}
        for name, value in report_lines(report):
            self.stdout.write(f"{name:<30} {value}")
        agreement = report["agreement"]
        if min_agreement is not None and (agreement is None or agreement < min_agreement):
            actual = "nothing was compared" if agreement is None else f"it is {agreement:.6g}"
            raise CommandError(f"The agreement must be at least {min_agreement:.6g}; {actual}")

    def _run(self, replay: Replay) -> None:
        model = runner.load_model(replay.to_version)
        self.stdout.write(
            f"Replay {replay.pk}: {replay.from_version} replayed with {replay.to_version}"
        )
        with tqdm(
            total=replay.rows_expected,
            initial=replay.rows_done,
            unit=" rows",
            desc="Replayed",
            file=self.stderr,
            disable=None,
        ) as progress:
            rows_before, started = replay.rows_done, time.perf_counter()
            runner.run(replay, model, progress=progress.update)
            seconds = time.perf_counter() - started
        rows = replay.rows_done - rows_before
        self.stdout.write(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s")


def report_lines(report: JSONObject) -> list[tuple[str, str]]:
    """The figures to print, as names and values."""
    counts = ("rows", "compared", "incomparable", "refused", "failed", "deleted", "agreed")
    lines = [(name, f"{report[name]:,}") for name in counts]
    if report["rows"]:
        low, high = (percent(end, 4) for end in report["agreement_interval"])
        agreement = f"{percent(report['agreement'], 4)} (95 % interval {low} to {high})"
        lines.append(("agreement", agreement))
    difference = report["difference"] or {}
    lines += [
        (f"difference, {name.replace('_', ' ')}", f"{value:.6g}")
        for name, value in difference.items()
        if name != "rows"
    ]
    class_pairs = report["classes"]["pairs"] if report["classes"] else []
    lines += [
        (f"{pair['recorded']} became {pair['new']}", f"{pair['rows']:,}")
        for pair in class_pairs[:MAX_SHOWN_CLASS_PAIRS]
    ]
    lines += [
        (
            f"prediction {pair['prediction_id']}",
            f"{_short(pair['recorded'])} became {_short(pair['new'])}",
        )
        for pair in report["worst"]
    ]
    return lines


def _find(replay_id: int, parameters: Mapping[str, object]) -> Replay:
    if parameters:
        raise CommandError(
            "--resume continues a replay with its own parameters, so it cannot be combined with"
            f" {', '.join(f'--{name}' for name in parameters)}."
        )
    return Replay.objects.with_versions().find(replay_id)


def _find_or_start(parameters: Mapping[str, object]) -> Replay:
    plan = _parse_plan(parameters)
    unfinished = plan.find_unfinished()
    if unfinished is not None:
        return unfinished
    # Loaded before the row is written: a model that fails to load leaves no replay behind.
    runner.load_model(plan.to_version)
    return runner.start(plan)


def _parse_plan(parameters: Mapping[str, object]) -> Plan:
    """The plan, validated like a request of the API."""
    payload = ReplayRequest(data=parameters)
    if not payload.is_valid():
        raise CommandError(
            " ".join(
                f"--{name}: {' '.join(map(str, messages))}"
                for name, messages in payload.errors.items()
            )
        )
    fields = payload.validated_data
    for name in ("from_version", "to_version"):
        fields[name] = find_version(fields[name])
    return Plan(**fields)


def _short(answer: object) -> str:
    return f"{answer:.6g}" if isinstance(answer, float) else str(answer)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share
