"""Idempotency keys whose answers are deleted: without them, a key is only a trace of a caller."""

from collections.abc import Callable, Collection

from django.db.models import Q

from predictions.models import IdempotencyKey, Prediction

CHUNK_KEYS = 5000


def delete_keys_of(prediction_ids: Collection[int], user_ids: Collection[int | None]) -> int:
    """Delete the keys of these users that were answered with one of the predictions."""
    erased = set(prediction_ids)
    return _delete(Q(user_id__in=user_ids), lambda ids: erased)


def delete_unanswered_keys(condition: Q) -> int:
    """Delete those keys at least one of whose predictions is gone."""
    return _delete(condition, lambda ids: ids - _existing(ids))


def _existing(prediction_ids: set[int]) -> set[int]:
    return set(Prediction.objects.filter(pk__in=prediction_ids).values_list("pk", flat=True))


def _delete(condition: Q, gone_of: Callable[[set[int]], set[int]]) -> int:
    """Delete keys by chunks; `gone_of` says which of the predictions of a chunk are gone."""
    deleted, last = 0, 0
    keys = IdempotencyKey.objects.filter(condition).order_by("pk")
    while chunk := list(keys.filter(pk__gt=last).values_list("pk", "prediction_ids")[:CHUNK_KEYS]):
        last = chunk[-1][0]
        gone = gone_of({prediction_id for _, ids in chunk for prediction_id in ids})
        unanswered = [pk for pk, ids in chunk if not gone.isdisjoint(ids)]
        deleted += IdempotencyKey.objects.filter(pk__in=unanswered).delete()[0]
    return deleted
