"""Legal holds, and the deletions that they forbid."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from predictions.models import Erasure, LegalHold, LegalHoldNotFound, Prediction
from predictions.retention import erasing, holds
from predictions.retention.errors import HeldByLaw, LegalHoldReleased, NamesSubject
from predictions.retention.pruning import Due, prune
from predictions.testing.rows import NOON, create_predictions, make_version
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from registry.testing.databases import postgresql


@pytest.fixture
def version(db: None) -> ModelVersion:
    return make_version(None)


LATER = NOON.replace(year=2027)


def test_a_held_subject_survives_pruning(version: ModelVersion) -> None:
    create_predictions(version, [1.0], subject="17")
    create_predictions(version, [2.0], subject="18")
    create_predictions(version, [3.0])
    hold = holds.place(subject="17", reason="lawsuit")

    assert prune(Due(LATER)) == 2
    assert [row.subject for row in Prediction.objects.all()] == ["17"]

    holds.release(hold.pk, reason="settled")
    assert prune(Due(LATER)) == 1


def test_a_hold_of_a_subject_by_a_model_keeps_nothing_else(version: ModelVersion) -> None:
    other = make_version(None, "other")
    for model in (version, other):
        create_predictions(model, [1.0], subject="17")
        create_predictions(model, [1.0], subject="18")
    registered = RegisteredModel.objects.get(name="other")
    holds.place(registered_model=registered, subject="17", reason="lawsuit")

    assert Due(LATER).count_held() == 1
    assert prune(Due(LATER)) == 3

    row = Prediction.objects.get()
    assert (row.model_id, row.subject) == (other.pk, "17")


def test_placing_and_releasing_is_audited_without_the_subject(version: ModelVersion) -> None:
    hold = holds.place(subject="customer-17", reason="lawsuit")
    holds.release(hold.pk, reason="settled")

    events = list(AuditEvent.objects.order_by("pk"))
    assert [event.action for event in events] == ["hold_placed", "hold_released"]
    assert [event.details["reason"] for event in events] == ["lawsuit", "settled"]
    assert "customer-17" not in str([event.__dict__ for event in events])


def test_a_hold_is_released_once(version: ModelVersion) -> None:
    hold = holds.place(subject="17", reason="lawsuit")
    holds.release(hold.pk, reason="settled")

    with pytest.raises(LegalHoldReleased):
        holds.release(hold.pk, reason="again")
    with pytest.raises(LegalHoldNotFound):
        holds.release(hold.pk + 1, reason="odd")
    assert LegalHold.objects.get().release_reason == "settled"


def test_a_hold_of_the_shadows_model_keeps_the_row_that_the_shadow_copies(
    version: ModelVersion,
) -> None:
    shadows_version = make_version(None, "other")
    [held, free] = create_predictions(version, [1.0, 2.0], reference="order-7")
    create_predictions(shadows_version, [1.0], primary=held, arm="shadow", alias="a")
    registered = RegisteredModel.objects.get(name="other")
    holds.place(registered_model=registered, reason="lawsuit")

    with pytest.raises(HeldByLaw):
        erasing.erase(kind=Erasure.Kind.REFERENCE, name="order-7", reason="asked")
    assert Due(LATER, model="m").count() == 1
    assert prune(Due(LATER, model="m")) == 1

    assert not Prediction.objects.filter(pk=free.pk).exists()
    assert Prediction.objects.count() == 2


def test_a_reason_must_not_name_the_subject(version: ModelVersion) -> None:
    with pytest.raises(NamesSubject):
        holds.place(subject="customer-17", reason="customer-17 sued")
    hold = holds.place(subject="customer-17", reason="lawsuit")
    with pytest.raises(NamesSubject):
        holds.release(hold.pk, reason="settled with customer-17")

    assert LegalHold.objects.get().released_at is None


@pytest.fixture
def deletion(transactional_db: None) -> Iterator[threading.Event]:
    """A deletion that has read the holds, and ends when the event is set."""
    has_begun, may_end = threading.Event(), threading.Event()

    def delete() -> None:
        with transaction.atomic():
            holds.holds_in_force()
            has_begun.set()
            may_end.wait(20)
        connection.close()

    thread = threading.Thread(target=delete)
    thread.start()
    assert has_begun.wait(20)
    yield may_end
    may_end.set()
    thread.join()


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_hold_waits_for_deletions_that_have_begun(deletion: threading.Event) -> None:
    placed: list[Any] = []

    def place() -> None:
        placed.append(holds.place(subject="17", reason="lawsuit"))
        connection.close()

    thread = threading.Thread(target=place)
    thread.start()
    thread.join(0.3)
    assert not placed

    deletion.set()
    thread.join(20)
    assert placed
