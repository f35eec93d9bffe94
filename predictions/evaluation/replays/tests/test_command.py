"""Replays from the command line."""

import re
from io import StringIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from predictions.evaluation.replays import replay
from predictions.models import Prediction, Replay, ReplayResult
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded as recorded
from registry.models import ModelVersion


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("replay", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_replays_and_prints_the_figures(
    coarse: ModelVersion, recorded: list[Prediction], settings: LazySettings
) -> None:
    settings.MAX_REPLAY_ROWS = 1

    said = command("--from=iris:1", "--to=iris:2")

    report = Replay.objects.get().report
    assert report is not None
    assert re.search(r"\n15 rows in \d+\.\d s, [\d,]+ rows/s\n", said)
    assert re.search(rf"\nagreement +{report['agreement']:.4%} \(95 % interval", said)
    assert f"prediction {report['worst'][0]['prediction_id']}" in said


def test_the_same_command_goes_on_with_what_was_stopped(
    coarse: ModelVersion, recorded: list[Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "CHUNK_ROWS", 4)
    with monkeypatch.context() as patch:
        commit, calls = replay._commit, iter(range(9))

        def killed(*arguments: Any) -> None:
            if next(calls) == 2:
                raise KeyboardInterrupt
            commit(*arguments)

        patch.setattr(replay, "_commit", killed)
        with pytest.raises(KeyboardInterrupt):
            command("--from=iris:1", "--to=iris:2")

    row = Replay.objects.get()
    assert (row.status, row.rows_done) == ("running", 8)
    assert "\n7 rows in" in command("--from=iris:1", "--to=iris:2")
    assert Replay.objects.get().report["rows"] == ReplayResult.objects.count() == 15
    # One that is completed is shown again, and begun anew only by its command.
    assert "agreement" in command(f"--resume={row.pk}")
    assert Replay.objects.count() == 1
    command("--from=iris:1", "--to=iris:2")
    assert Replay.objects.count() == 2


def test_the_command_fails_where_too_little_agrees(
    coarse: ModelVersion, recorded: list[Prediction]
) -> None:
    with pytest.raises(CommandError, match=r"Agreement must be at least 0\.99; it is 0\."):
        command("--from=iris:1", "--to=iris:2", "--min-agreement=0.99")
    assert Replay.objects.get().status == "completed"
    command("--from=iris:1", "--to=iris:2", "--min-agreement=0.1")
    with pytest.raises(CommandError, match="nothing was compared"):
        command("--from=iris:1", "--to=iris:2", "--until=1999-01-01", "--min-agreement=0")


@pytest.mark.parametrize(
    ("arguments", "said"),
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
        (["--from=iris:1", "--to=iris:2", "--min-agreement=98"], "is no number from 0 to 1"),
        (["--resume=1", "--to=iris:2"], "give nothing beside"),
        (["--resume=12345"], "Replay 12345 not found"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(
    iris: ModelVersion, coarse: ModelVersion, arguments: list[str], said: str
) -> None:
    with pytest.raises(CommandError, match=re.escape(said)):
        command(*arguments)
    assert not Replay.objects.exists()
