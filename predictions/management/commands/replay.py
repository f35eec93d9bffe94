import argparse
import os
import time
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from predictions.evaluation.replays import runner as replay
from predictions.evaluation.replays.serializers import ReplayRequest
from predictions.models import Replay, ReplayNotFound
from registry.loader import ArtifactMissing, ModelNotReady
from registry.models import ModelNotFound

OPTIONS = ("from", "to", "since", "until", "limit", "tolerance", "name")
# Serving comes first.
NICENESS = 10


class Command(BaseCommand):
    help = (
        "Score a version's recorded inputs with another version and compare the answers. A replay"
        " that was killed goes on where it was when the same command is given again."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--from", metavar="VERSION", help="name:version, or an id.")
        parser.add_argument("--to", metavar="VERSION", help="The version that answers anew.")
        parser.add_argument("--since", metavar="WHEN", help="Only predictions from then on.")
        parser.add_argument("--until", metavar="WHEN", help="Only predictions before then.")
        parser.add_argument("--limit", metavar="ROWS", help="At most so many, the newest.")
        parser.add_argument(
            "--tolerance",
            metavar="NUMBER",
            help="How far values may differ and agree; by default, as rounding does.",
        )
        parser.add_argument("--name", help="A name for it.")
        parser.add_argument("--resume", type=int, metavar="ID", help="Go on with this replay.")
        parser.add_argument(
            "--min-agreement",
            type=_share,
            metavar="SHARE",
            help="Fail where less agrees, such as 0.98.",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        # Only the process that is there for it.
        with suppress(OSError):
            os.nice(NICENESS)
        super().run_from_argv(argv)

    def handle(self, *, resume: int | None, min_agreement: float | None, **options: Any) -> None:
        given = {name: options[name] for name in OPTIONS if options[name] is not None}
        try:
            row = self._resumed(resume, given) if resume is not None else self._begun(given)
            if row.report is None:
                self._run(row)
        except (
            *(ModelNotFound, ArtifactMissing, ModelNotReady),
            *(ReplayNotFound, replay.ReplayTaken),
        ) as error:
            raise CommandError(str(error)) from error
        self._print(row)
        agreement = (row.report or {})["agreement"]
        if min_agreement is not None and (agreement is None or agreement < min_agreement):
            shown = "nothing was compared" if agreement is None else f"it is {agreement:.6g}"
            raise CommandError(f"Agreement must be at least {min_agreement:.6g}; {shown}")

    def _resumed(self, replay_id: int, given: dict[str, Any]) -> Replay:
        if given:
            raise CommandError("--resume: goes on with what was asked before; give nothing beside.")
        return Replay.objects.with_versions().find(replay_id)

    def _begun(self, given: dict[str, Any]) -> Replay:
        plan = _plan(given)
        unfinished = plan.unfinished()
        if unfinished is not None:
            return unfinished
        # Before its row is there: a model that can not be loaded leaves none.
        replay.load(plan.to_version)
        return replay.start(plan)

    def _run(self, row: Replay) -> None:
        model = replay.load(row.to_version)
        self.stdout.write(f"Replay {row.pk}: {row.from_version} by {row.to_version}")
        with tqdm(
            total=row.rows_expected,
            initial=row.rows_done,
            unit=" rows",
            desc="Replayed",
            file=self.stderr,
            disable=None,
        ) as progress:
            done, started = row.rows_done, time.perf_counter()
            replay.run(row, model, progress=progress.update)
            seconds = time.perf_counter() - started
        rows = row.rows_done - done
        self.stdout.write(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s")

    def _print(self, row: Replay) -> None:
        for name, value in lines_of(row.report or {}):
            self.stdout.write(f"{name:<30} {value}")


def lines_of(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that a terminal shows."""
    counts = ("rows", "compared", "incomparable", "refused", "failed", "deleted", "agreed")
    lines = [(name, f"{report[name]:,}") for name in counts]
    if report["rows"]:
        low, high = report["agreement_interval"]
        shown = f"{report['agreement']:.4%} (95 % interval {low:.4%} to {high:.4%})"
        lines.append(("agreement", shown))
    difference = report["difference"] or {}
    lines += [
        (f"difference, {name.replace('_', ' ')}", f"{value:.6g}")
        for name, value in difference.items()
        if name != "rows"
    ]
    lines += [
        (f"{pair['recorded']} became {pair['new']}", f"{pair['rows']:,}")
        for pair in (report["classes"] or {"pairs": []})["pairs"][:5]
    ]
    lines += [
        (
            f"prediction {pair['prediction_id']}",
            f"{_short(pair['recorded'])} became {_short(pair['new'])}",
        )
        for pair in report["worst"]
    ]
    return lines


def _short(answer: Any) -> str:
    return f"{answer:.6g}" if isinstance(answer, float) else str(answer)


def _plan(given: dict[str, Any]) -> replay.Plan:
    """What is asked, checked as a request would be."""
    payload = ReplayRequest(data=given)
    try:
        payload.is_valid(raise_exception=True)
    except ValidationError as error:
        said: Any = error.detail
        raise CommandError(
            " ".join(f"--{name}: {' '.join(map(str, texts))}" for name, texts in said.items())
        ) from error
    fields = payload.validated_data
    for name in ("from_version", "to_version"):
        fields[name] = replay.find_version(fields[name])
    return replay.Plan(**fields)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share
