"""Replays from the command line."""

import re
from io import StringIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from predictions.evaluation.figures import percent
from predictions.evaluation.replays import plan, runner
from predictions.models import Prediction, Replay, ReplayResult
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded_rows as recorded_rows
from registry.models import ModelVersion


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("replay", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_runs_a_replay_and_prints_the_figures(
    coarse: ModelVersion, recorded_rows: list[Prediction], settings: LazySettings
) -> None:
    settings.MAX_REPLAY_ROWS = 1

    output = run_command("--from=iris:1", "--to=iris:2")

    report = Replay.objects.get().report
    assert report is not None
    assert re.search(r"\n15 rows in \d+\.\d s, [\d,]+ rows/s\n", output)
    agreement = percent(report["agreement"], 4)
    assert re.search(rf"\nagreement +{agreement} \(95 % interval", output)
    assert f"prediction {report['worst'][0]['prediction_id']}" in output


def test_the_same_command_continues_an_interrupted_replay(
    coarse: ModelVersion, recorded_rows: list[Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CHUNK_ROWS", 4)
    with monkeypatch.context() as patch:
        commit, numbers = runner._commit, iter(range(9))

        def commit_or_interrupt(*arguments: Any) -> None:
            if next(numbers) == 2:
                raise KeyboardInterrupt
            commit(*arguments)

        patch.setattr(runner, "_commit", commit_or_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_command("--from=iris:1", "--to=iris:2")

    replay = Replay.objects.get()
    assert (replay.status, replay.rows_done) == ("running", 8)
    assert "\n7 rows in" in run_command("--from=iris:1", "--to=iris:2")
    assert Replay.objects.get().report["rows"] == ReplayResult.objects.count() == 15
    # A completed replay is only shown again; its command starts a new one.
    assert "agreement" in run_command(f"--resume={replay.pk}")
    assert Replay.objects.count() == 1
    run_command("--from=iris:1", "--to=iris:2")
    assert Replay.objects.count() == 2


def test_the_command_fails_below_the_minimum_agreement(
    coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    with pytest.raises(CommandError, match=r"agreement must be at least 0\.99; it is 0\."):
        run_command("--from=iris:1", "--to=iris:2", "--min-agreement=0.99")
    assert Replay.objects.get().status == "completed"
    run_command("--from=iris:1", "--to=iris:2", "--min-agreement=0.1")
    with pytest.raises(CommandError, match="nothing was compared"):
        run_command("--from=iris:1", "--to=iris:2", "--until=1999-01-01", "--min-agreement=0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from=iris:1"], "--to: This field is required."),
        (["--from=iris:1", "--to=iris"], "--to: Must be name:version"),
        (["--from=iris:1", "--to=iris:7"], "Model iris:7 not found"),
        (["--from=iris:1", "--to=iris:2", "--limit=0"], "--limit: "),
        (["--from=iris:1", "--to=iris:2", "--since=soon"], "--since: "),
        (
            ["--from=iris:1", "--to=iris:2", "--since=2026-02-01", "--until=2026-01-01"],
            "--since: Must be before `until`.",
        ),
        (["--from=iris:1", "--to=iris:2", "--min-agreement=98"], "is not a number from 0 to 1"),
        (["--resume=1", "--to=iris:2"], "cannot be combined with --to"),
        (["--resume=12345"], "Replay 12345 not found"),
    ],
)
def test_an_invalid_command_names_the_problem(
    iris: ModelVersion, coarse: ModelVersion, arguments: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=re.escape(message)):
        run_command(*arguments)
    assert not Replay.objects.exists()
