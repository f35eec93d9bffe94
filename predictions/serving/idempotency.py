"""The Idempotency-Key header: a request that is sent twice is answered once.

Follows the IETF draft "The Idempotency-Key HTTP Header Field". A key belongs to its caller and is
claimed in the transaction that writes the predictions. The unique constraint decides: of two
concurrent requests one writes, and the other returns the first one's answer. A failed prediction
does not keep the key: retrying it is a new attempt.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from predictions.models import MAX_KEY_LENGTH, IdempotencyKey, Prediction, PredictionNotFound
from registry.database import clock, statements

HEADER = "Idempotency-Key"
TABLE = IdempotencyKey._meta.db_table
CLAIM_STATEMENT = f"""
    INSERT INTO {TABLE} AS stored (user_id, key, digest, prediction_ids, expires_at)
    VALUES (%s, %s, %s, '[]', %s)
    ON CONFLICT (user_id, key)
    DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at
    WHERE stored.expires_at <= %s
    RETURNING id
"""  # noqa: S608 -- the name of our own table
# Printable ASCII: all that a quoted header string can hold.
WELL_FORMED_KEY = re.compile(rf"[ -~]{{1,{MAX_KEY_LENGTH}}}")


class InvalidKey(ValueError):
    """The header's value is not a valid key; the message is for the caller."""


class KeyReused(Exception):
    """The key belongs to another request of this caller; the message is for the caller."""


class AlreadyAnswered(Exception):
    """Another request with this key was recorded in the meantime."""


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """Whose request it is, its key, and the digest of its content."""

    user_id: int
    key: str
    digest: str

    @classmethod
    def of(cls, user_id: int, key: str, *content: bytes) -> "Claim":
        """The claim of a request with this content; raises InvalidKey."""
        if not WELL_FORMED_KEY.fullmatch(key):
            raise InvalidKey(f"{HEADER}: Must be 1 to {MAX_KEY_LENGTH} printable ASCII characters.")
        digest = hashlib.sha256()
        for part in content:
            digest.update(len(part).to_bytes(8) + part)
        return cls(user_id, key, digest.hexdigest())


def find_answer(claim: Claim) -> list[Prediction] | None:
    """The predictions that answered this request before, or None.

    Raises KeyReused if the key belongs to a different request, and PredictionNotFound if the
    predictions have been deleted.
    """
    row = IdempotencyKey.objects.filter(
        user_id=claim.user_id, key=claim.key, expires_at__gt=clock.now()
    ).first()
    if row is None:
        return None
    if row.digest != claim.digest:
        raise KeyReused(f"{HEADER} {claim.key!r} was used for another request")
    predictions = Prediction.objects.listed().in_bulk(row.prediction_ids)
    if len(predictions) != len(row.prediction_ids):
        raise PredictionNotFound(f"The predictions of {HEADER} {claim.key!r} have been deleted")
    return [predictions[pk] for pk in row.prediction_ids]


def claim_keys(claims: Sequence[Claim]) -> dict[Claim, int]:
    """Claim keys inside the open transaction; return the row ids of those that were free, by claim.

    Waits for a transaction that is writing the same key. An expired key is free again.
    """
    now = clock.now()
    expires_at = now + timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)
    key_ids = {}
    # Sorted, so that two batches with the same keys cannot deadlock.
    for claim in sorted(set(claims)):
        rows = statements.fetch(
            CLAIM_STATEMENT, [claim.user_id, claim.key, claim.digest, expires_at, now]
        )
        for (pk,) in rows:
            key_ids[claim] = pk
    return key_ids


def store_answers(answers: Mapping[int, Sequence[int]]) -> None:
    """Store the ids of the predictions that answered each claimed key, by the key's row id."""
    for pk, prediction_ids in answers.items():
        IdempotencyKey.objects.filter(pk=pk).update(prediction_ids=list(prediction_ids))


def release_keys(keys: Iterable[int]) -> None:
    """Delete claimed keys, by row id, that got no answer."""
    if unused := list(keys):
        IdempotencyKey.objects.filter(pk__in=unused).delete()
