"""prune_predictions --due, erase_subject and legal_hold."""

import sys
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from predictions.models import Erasure, IdempotencyKey, LegalHold, Prediction
from predictions.retention.work import RETENTION
from predictions.testing.rows import create_predictions, make_version
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from registry.work.kinds import registered


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def version(db: None) -> ModelVersion:
    """A version whose predictions are kept for 30 days."""
    version = make_version(None)
    RegisteredModel.objects.update(retention_days=30)
    return version


def record(version: ModelVersion, days: int, **fields: Any) -> Prediction:
    created_at = timezone.now() - timedelta(days=days)
    return create_predictions(version, [1.0], created_at=created_at, **fields)[0]


def answer_at_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)


def test_predictions_past_the_retention_of_their_model_are_deleted(version: ModelVersion) -> None:
    kept = make_version(None, "kept")
    rows = [record(version, 29), record(kept, 400)]
    record(version, 31)

    output = run("prune_predictions", "--due")

    assert "Deleted 1 predictions of m made before" in output
    assert list(Prediction.objects.order_by("pk")) == rows
    event = AuditEvent.objects.get()
    assert (event.action, event.model, event.details["predictions"]) == ("pruned", "m", 1)


def test_the_worker_deletes_what_is_due_until_it_is_stopped(version: ModelVersion) -> None:
    record(version, 31)
    assert RETENTION in registered()
    turn = RETENTION.take_due()
    assert turn is not None

    RETENTION.run(turn, lambda: True)
    assert Prediction.objects.count() == 1
    turn = RETENTION.take_due()
    assert turn is not None
    RETENTION.run(turn, lambda: False)

    assert Prediction.objects.count() == 0
    assert AuditEvent.objects.get().model == "m"


def test_idempotency_keys_of_deleted_predictions_go_with_them(
    version: ModelVersion, user: User, settings: Any
) -> None:
    settings.IDEMPOTENCY_KEY_HOURS = 24 * 60
    for days, name in ((31, "old"), (29, "young")):
        row = record(version, days, user=user)
        IdempotencyKey.objects.create(
            user=user,
            key=name,
            digest="d",
            prediction_ids=[row.pk],
            expires_at=row.created_at + timedelta(days=60),
        )

    run("prune_predictions", "--due")

    assert [key.key for key in IdempotencyKey.objects.all()] == ["young"]


def test_a_dry_run_deletes_nothing(version: ModelVersion) -> None:
    record(version, 31)
    record(version, 31, subject="17")
    run("legal_hold", "hold", "--subject=17", "--reason=lawsuit")

    output = run("prune_predictions", "--due", "--dry-run")

    assert "1 predictions of m made before" in output
    assert "would be deleted; 1 are under a legal hold." in output
    assert Prediction.objects.count() == 2


def test_what_a_hold_keeps_is_told_with_its_reason(version: ModelVersion) -> None:
    record(version, 31, subject="17")
    run("legal_hold", "hold", "--model=m", "--reason=lawsuit")

    assert "keeps the predictions of m: lawsuit" in run("prune_predictions", "--due")
    assert Prediction.objects.count() == 1


@pytest.mark.parametrize("arguments", [("--due",), ("--before=2999-01-01",)])
def test_pruning_asks_at_a_terminal(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    record(version, 31)

    answer_at_terminal(monkeypatch, "n")
    with pytest.raises(CommandError, match="Nothing was deleted"):
        run("prune_predictions", *arguments)
    assert Prediction.objects.count() == 1

    answer_at_terminal(monkeypatch, "y")
    run("prune_predictions", *arguments)
    assert Prediction.objects.count() == 0


def test_an_erasure_reports_counts_and_what_it_does_not_reach(version: ModelVersion) -> None:
    record(version, 1, subject="17")

    assert "1 predictions would be deleted" in run("erase_subject", "17", "--reason=r", "--dry-run")
    output = run("erase_subject", "17", "--reason=request 5")

    assert "predictions          1" in output
    assert "Backups of the database" in output
    assert not Prediction.objects.exists()
    assert Erasure.objects.get().reason == "request 5"


def test_an_erasure_asks_at_a_terminal(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(version, 1, subject="17")
    answer_at_terminal(monkeypatch, "")

    with pytest.raises(CommandError, match="Nothing was deleted"):
        run("erase_subject", "17", "--reason=r")
    run("erase_subject", "17", "--reason=r", "--yes")

    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("erase_subject", "--reason=r"), "either a subject or --reference"),
        (("erase_subject", "17", "--reference=a", "--reason=r"), "either a subject or"),
        (("erase_subject", "17", "--reason= "), "--reason: 1 to 500 characters"),
        (("erase_subject", "17", "--reason=r", "--model=odd"), "Model odd not found"),
        (("legal_hold", "hold", "--reason=r"), "Give --model, --subject or both"),
        (("legal_hold", "hold", "--model=odd", "--reason=r"), "Model odd not found"),
        (("legal_hold", "release", "7", "--reason=r"), "Legal hold 7 not found"),
        (("prune_predictions", "--due", "--model-id=1"), "--model-id needs --before"),
    ],
)
def test_what_is_wrong_is_told(db: None, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)


def test_holds_are_placed_listed_and_released(version: ModelVersion) -> None:
    run("legal_hold", "hold", "--model=m", "--subject=17", "--reason=lawsuit")
    hold = LegalHold.objects.get()
    assert "keeps a subject's predictions of m since" in run("legal_hold", "list")

    run("legal_hold", "release", str(hold.pk), "--reason=settled")

    assert run("legal_hold", "list") == ""
