"""What an erasure deletes, what it leaves, and what it refuses."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from predictions.models import (
    Erasure,
    IdempotencyKey,
    LegalHold,
    Outcome,
    Prediction,
    Replay,
)
from predictions.retention import erasing, holds
from predictions.retention.errors import ErasureTooLarge, HeldByLaw, NamesSubject
from predictions.retention.pseudonyms import pseudonym_of
from predictions.testing.replays import iris_rows, record_labels, run_replay
from predictions.testing.rows import create_predictions, make_version
from registry.models import AuditEvent, ModelNotFound, ModelVersion, RegisteredModel
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion

SUBJECT = Erasure.Kind.SUBJECT


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(None)


def erase(name: str, **options: Any) -> Erasure:
    return erasing.erase(**{"kind": SUBJECT, "name": name, "reason": "request 5", **options})


def test_all_rows_about_the_subject_are_deleted_and_no_others(
    version: ModelVersion, user: User
) -> None:
    [mine] = create_predictions(version, [1.0], subject="17", user=user)
    [other] = create_predictions(version, [2.0], subject="18", user=user)
    create_predictions(version, [3.0], subject="17", alias="champion", arm="shadow", primary=mine)
    for row in (mine, mine, other):
        Outcome.objects.create(prediction=row, value=1.0)
    expires_at = timezone.now() + timedelta(hours=1)
    for key, ids in (("a", [mine.pk]), ("b", [other.pk]), ("c", [other.pk, mine.pk])):
        IdempotencyKey.objects.create(
            user=user, key=key, digest="d", prediction_ids=ids, expires_at=expires_at
        )

    erasure = erase("17")

    assert list(Prediction.objects.all()) == [other]
    assert Outcome.objects.count() == 1
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["b"]
    assert erasure.counts == {
        "predictions": 2,
        "outcomes": 2,
        "replay_results": 0,
        "replay_reports": 0,
        "idempotency_keys": 2,
        "legal_holds": 0,
    }


def test_the_evidence_names_nobody(version: ModelVersion) -> None:
    create_predictions(version, [1.0], subject="customer-17")

    erasure = erase("customer-17")

    assert erasure.pseudonym == pseudonym_of("customer-17")
    event = AuditEvent.objects.get(action="erased")
    assert event.target == f"Erasure {erasure.pk}"
    assert "customer-17" not in str([erasure.__dict__, event.__dict__])


def test_erasing_again_is_recorded_and_deletes_nothing(version: ModelVersion) -> None:
    create_predictions(version, [1.0], subject="17")
    erase("17")

    assert erase("17").counts["predictions"] == 0
    assert Erasure.objects.filter(pseudonym=pseudonym_of("17")).count() == 2


def test_rows_of_one_reference_or_of_one_model_are_erased(version: ModelVersion) -> None:
    other = make_version(None, "other")
    for model in (version, other):
        create_predictions(model, [1.0], subject="17", reference="r")

    erase("17", model="other")
    assert [row.model_id for row in Prediction.objects.all()] == [version.pk]

    erase("r", kind=Erasure.Kind.REFERENCE)
    assert not Prediction.objects.exists()


def test_the_reports_of_replays_are_computed_again(
    iris: ModelVersion, iris_artifact: Artifact, make_version: MakeVersion, user: User
) -> None:
    rows = record_labels(iris, iris_artifact, iris_rows()[::15])
    Prediction.objects.filter(pk__in=[row.pk for row in rows[:3]]).update(subject="17")
    second = make_version("iris", iris_artifact, version="2")
    replay = run_replay(iris, second)

    erasure = erase("17")

    report: Any = Replay.objects.get(pk=replay.pk).report
    assert (report["rows"], report["deleted"]) == (len(rows) - 3, 3)
    assert {pair["prediction_id"] for pair in report["worst"]}.isdisjoint(
        {row.pk for row in rows[:3]}
    )
    assert (erasure.counts["replay_results"], erasure.counts["replay_reports"]) == (3, 1)


def test_a_legal_hold_refuses_the_erasure(version: ModelVersion) -> None:
    create_predictions(version, [1.0], subject="17")
    hold = holds.place(subject="17", reason="lawsuit 3")

    with pytest.raises(HeldByLaw, match="lawsuit 3"):
        erase("17")
    assert Prediction.objects.count() == 1
    assert not Erasure.objects.exists()

    holds.release(hold.pk, reason="settled")
    erase("17")
    assert not Prediction.objects.exists()
    # The released hold names nobody either.
    assert LegalHold.objects.get().subject == pseudonym_of("17")


def test_a_hold_on_a_model_refuses_only_what_is_of_it(version: ModelVersion) -> None:
    create_predictions(version, [1.0], subject="17")
    create_predictions(make_version(None, "other"), [1.0], subject="18")
    holds.place(
        registered_model=RegisteredModel.objects.get(name="other"), reason="audit of the model"
    )

    erase("17")

    with pytest.raises(HeldByLaw, match="audit of the model"):
        erase("18")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_rows": 1}, ErasureTooLarge, "more than 1 predictions"),
        ({"model": "odd"}, ModelNotFound, "Model odd not found"),
        ({"reason": "forget 17"}, NamesSubject, "must not contain the subject"),
    ],
)
def test_what_is_refused_deletes_nothing(
    version: ModelVersion, options: Any, error: type[Exception], message: str
) -> None:
    create_predictions(version, [1.0, 2.0], subject="17")

    with pytest.raises(error, match=message):
        erase("17", **options)

    assert Prediction.objects.count() == 2
    assert not Erasure.objects.exists()
    assert not AuditEvent.objects.exists()
