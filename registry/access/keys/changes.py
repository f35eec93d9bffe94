"""Making, rotating and revoking API keys. Each change is a transaction with its audit event."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from registry.access import audit
from registry.access.accessor import SYSTEM, Accessor
from registry.access.keys import values
from registry.database import clock
from registry.exact_json.values import JSONObject
from registry.models import ApiKey, AuditEvent, RegisteredModel, Right

# Enough for anybody; a loop that makes keys should not fill the table.
MAX_VALID_KEYS = 200
MAX_OVERLAP_HOURS = 24 * 30


class ApiKeyEnded(Exception):
    """The key was revoked, has expired or was rotated before; the message is for the caller."""


class TooManyApiKeys(Exception):
    """The user has too many valid keys; the message is for the caller."""


def create_key(
    *,
    name: str,
    owner: User,
    scopes: Collection[Right],
    models: Sequence[RegisteredModel] | None = None,
    expires_at: datetime | None = None,
    rate_limit: int | None = None,
    accessor: Accessor = SYSTEM,
) -> tuple[ApiKey, str]:
    """Make a key, for all models unless `models` are given; return it with its value.

    Nothing stores the value: this is the only time that it can be shown. Raises TooManyApiKeys.
    """
    row = ApiKey(
        name=name,
        owner=owner,
        all_models=models is None,
        rate_limit=rate_limit,
        expires_at=expires_at,
        created_by=accessor.user,
        **{right.value: right in scopes for right in Right},
    )
    with transaction.atomic():
        return row, _insert(row, models or (), accessor)


def rotate_key(
    *, key_id: int, overlap_hours: int, accessor: Accessor = SYSTEM
) -> tuple[ApiKey, str]:
    """Make a key with the same scopes, models and limit, and let the old one expire.

    Both are valid for `overlap_hours`; after that the old one has expired. The new one is valid for
    as long as the old one was meant to be. Raises ApiKeyNotFound, ApiKeyEnded or TooManyApiKeys.
    """
    now = clock.now()
    with transaction.atomic():
        old = _lock(key_id)
        _require_valid(old, now)
        if old.replacements.exists():
            raise ApiKeyEnded(f"API key {old.pk} was rotated before: rotate its replacement")
        row = ApiKey(
            name=old.name,
            owner=old.owner,
            all_models=old.all_models,
            rate_limit=old.rate_limit,
            expires_at=_expiry_like(old, now),
            created_by=accessor.user,
            replaces=old,
            **{right.value: right in old.rights for right in Right},
        )
        value = _insert(row, list(old.registered_models.all()), accessor)
        end = now + timedelta(hours=overlap_hours)
        if old.expires_at is None or end < old.expires_at:
            old.expires_at = end
            old.save(update_fields=["expires_at"])
        _record(AuditEvent.Action.KEY_CHANGED, old, accessor, {"rotated_to": row.prefix})
    return row, value


def revoke_key(*, key_id: int, accessor: Accessor = SYSTEM) -> ApiKey:
    """Revoke a key for ever; nothing if it was revoked before. Raises ApiKeyNotFound.

    Once the transaction is committed, no process accepts the key.
    """
    with transaction.atomic():
        row = _lock(key_id)
        if row.revoked_at is None:
            row.revoked_at = clock.now()
            row.save(update_fields=["revoked_at"])
            _record(AuditEvent.Action.KEY_REVOKED, row, accessor)
    return row


def record_change(row: ApiKey, accessor: Accessor) -> None:
    """Write the audit event of a change to a key's name, scopes, models, limit or expiry."""
    _record(AuditEvent.Action.KEY_CHANGED, row, accessor, _description(row))


def default_expiry() -> datetime | None:
    """The latest time at which a new key may expire; None if it need not."""
    days: int = settings.API_KEY_MAX_DAYS
    return clock.now() + timedelta(days=days) if days else None


def _expiry_like(old: ApiKey, now: datetime) -> datetime | None:
    """When a key made now expires, to be valid for as long as the old one within the setting."""
    latest = default_expiry()
    if old.expires_at is None:
        return latest
    wanted = now + (old.expires_at - old.created_at)
    return wanted if latest is None else min(wanted, latest)


def _insert(row: ApiKey, models: Sequence[RegisteredModel], accessor: Accessor) -> str:
    # The lock makes concurrent requests count one after the other.
    User.objects.select_for_update().get(pk=row.owner_id)
    if ApiKey.objects.valid().filter(owner=row.owner).count() >= MAX_VALID_KEYS:
        raise TooManyApiKeys(
            f"{row.owner} has {MAX_VALID_KEYS} valid API keys, the most that a user may have."
            " Revoke some first."
        )
    # The time that expiries are compared with.
    row.created_at = clock.now()
    made = values.generate()
    row.prefix, row.digest = made.prefix, made.digest
    row.save(force_insert=True)
    row.registered_models.set(models)
    _record(AuditEvent.Action.KEY_CREATED, row, accessor, _description(row))
    return made.value


def _lock(key_id: int) -> ApiKey:
    return ApiKey.objects.select_for_update(of=("self",)).find(key_id)


def _require_valid(row: ApiKey, now: datetime) -> None:
    if row.revoked_at is not None:
        raise ApiKeyEnded(f"API key {row.pk} was revoked: create another one")
    if row.expires_at is not None and row.expires_at <= now:
        raise ApiKeyEnded(f"API key {row.pk} has expired: create another one")


def _description(row: ApiKey) -> JSONObject:
    return {
        # By the ID: a name must not outlast the anonymisation of its user.
        "owner_id": row.owner_id,
        "scopes": [right.value for right in row.rights],
        "models": None
        if row.all_models
        else sorted(row.registered_models.values_list("name", flat=True)),
        "expires_at": row.expires_at and row.expires_at.isoformat(),
        "rate_limit": row.rate_limit,
    }


def _record(
    action: AuditEvent.Action, row: ApiKey, accessor: Accessor, details: JSONObject | None = None
) -> None:
    audit.record(action, accessor, target=str(row), details=details)
