"""API keys in Authorization headers.

A process remembers the keys it has seen: which key and which owner a value stands for never
changes. Whatever may change is checked by the recording statement (`serving/guards`) or, for
requests that record nothing, by a query.
"""

import copy
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from rest_framework.exceptions import AuthenticationFailed

from predictions.serving.batching import Batcher
from predictions.serving.guards import key_refusal
from predictions.serving.lanes import MAX_JOINED_CALLS
from registry.access.background import Background
from registry.access.keys import values
from registry.access.keys.last_use import LAST_USES
from registry.access.limits import LIMITER, RateLimited
from registry.loading.loader import release_connection
from registry.models import ApiKey, RateUsage, Right

MAX_REMEMBERED = 4096
SECONDS_BETWEEN_READS = 10.0
# In the WSGI environment of a request that was counted: None, or the error that refused it. The
# fast lane and Django may both look.
COUNTED = "mlapi.counted"

# Django's permissions that a key may use, by its scopes; its owner must have them as well. They are
# about all models, so a key for some models has none: rights are checked per model then.
PERMISSIONS_OF_SCOPES: dict[Right, frozenset[str]] = {
    Right.PREDICT: frozenset({"predictions.add_prediction"}),
    Right.READ_LOG: frozenset(
        f"predictions.view_{name}" for name in ("prediction", "outcome", "replay", "replayresult")
    ),
    Right.REPORT_OUTCOMES: frozenset({"predictions.add_outcome"}),
    Right.MANAGE_VERSIONS: frozenset(
        f"registry.{action}_{name}"
        for action in ("add", "change", "delete", "view")
        for name in ("modelversion", "registeredmodel")
    ),
    Right.MOVE_ALIASES: frozenset(
        f"registry.{action}_alias" for action in ("add", "change", "delete", "view")
    ),
}


class UnknownKey(AuthenticationFailed):
    default_detail = "The API key is not valid."
    default_code = "api_key_not_valid"


class RefusedKey(AuthenticationFailed):
    default_code = "api_key_refused"


# -- look-ups --------------------------------------------------------------------------------------


def find(value: str) -> ApiKey:
    """The key of this value with its owner, as it is now; raises UnknownKey or RefusedKey."""
    if not values.is_well_formed(value):
        raise UnknownKey
    row = _lookups(values.digest_of(value))
    if reason := key_refusal(row):
        raise RefusedKey(str(reason))
    return row


def find_remembered(value: str) -> ApiKey:
    """The key of this value as this process has seen it, without a query if it has.

    Raises UnknownKey or RefusedKey; a key may still turn out to be revoked when it is recorded.
    """
    if not values.is_well_formed(value):
        raise UnknownKey
    digest = values.digest_of(value)
    row = REMEMBERED.get(digest)
    if row is None or key_refusal(row):
        # What has expired may have been extended since.
        row = find(value)
        REMEMBERED.add(row)
        # The caller that commits for all waiting ones may need the connection.
        release_connection()
    return row


def _look_up(digests: Sequence[str]) -> list[ApiKey | Exception]:
    rows = ApiKey.objects.select_related("owner").filter(digest__in=set(digests))
    found = {row.digest: row for row in rows}
    return [found.get(digest) or UnknownKey() for digest in digests]


# Requests that come while one queries the database share the next query, so that a flood of wrong
# keys costs each process one query at a time.
_lookups: Batcher[str, ApiKey] = Batcher(_look_up, limit=MAX_JOINED_CALLS)


class RememberedKeys:
    """The keys seen last, by digest; only keys that exist, so that wrong ones cannot fill it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, ApiKey] = OrderedDict()
        self._lock = threading.Lock()
        self._background = Background("api-keys", self.read_again, SECONDS_BETWEEN_READS)

    def get(self, digest: str) -> ApiKey | None:
        self._background.poke()
        # No lock: a single operation on a dictionary is atomic.
        return self._rows.get(digest)

    def read_again(self) -> None:
        """Learn of new rate limits, and forget the keys that have ended."""
        rows = {row.digest: row for row in list(self._rows.values())}
        read = ApiKey.objects.select_related("owner").filter(digest__in=rows)
        current = {row.digest: row for row in read if key_refusal(row) is None}
        with self._lock:
            for digest in rows.keys() & self._rows.keys():
                if digest in current:
                    self._rows[digest] = current[digest]
                else:
                    del self._rows[digest]

    def add(self, row: ApiKey) -> None:
        with self._lock:
            self._rows[row.digest] = row
            self._rows.move_to_end(row.digest)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()


REMEMBERED = RememberedKeys(MAX_REMEMBERED)


# -- the user of a request -------------------------------------------------------------------------


def user_of(key: ApiKey) -> User:
    """The key's owner as the user of a request: never a superuser, and with no Django permission
    beyond the key's scopes.

    Rights on models are checked with the key itself: see `registry.access`.
    """
    user = copy.copy(key.owner)
    user.is_superuser = user.is_staff = False
    allowed: frozenset[str] = frozenset()
    if key.all_models:
        allowed = allowed.union(*(PERMISSIONS_OF_SCOPES[right] for right in key.rights))

    def has_perm(perm: str, obj: Any = None) -> bool:
        return perm in allowed and key.owner.has_perm(perm, obj)

    user.has_perm = has_perm  # type: ignore[method-assign]
    return user


def count_use(key: ApiKey, environ: dict[str, Any]) -> None:
    """Count a request against the key's rate limit, once, and note its time.

    Raises RateLimited.
    """
    if key.rate_limit is not None and COUNTED not in environ:
        environ[COUNTED] = None
        try:
            LIMITER.take(RateUsage.Kind.KEY, key.pk, key.rate_limit)
        except RateLimited as error:
            environ[COUNTED] = error
    if (refusal := environ.get(COUNTED)) is not None:
        raise refusal
    LAST_USES.note(key.pk)
