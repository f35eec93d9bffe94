"""Adding, changing and deleting registered models, with their audit events."""

from typing import TypedDict, Unpack

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from registry.access import audit, rights
from registry.access.accessor import SYSTEM, Accessor
from registry.exact_json.values import JSONObject
from registry.models import Alias, AuditEvent, ModelVersion, RegisteredModel, Right

# Of the others, an event tells that they were changed, not what they are now.
AUDITED_VALUES = ("contact", "is_private", "needs_approval", "retention_days", "rate_limit")


class RegisteredModelExists(Exception):
    """The name is taken. The message can be shown to the caller."""


class RegisteredModelInUse(Exception):
    """Versions or aliases have this name. The message can be shown to the caller."""


class ModelChanges(TypedDict, total=False):
    """The fields that can be changed."""

    description: str
    owner: User | None
    contact: str
    tags: JSONObject
    is_private: bool
    needs_approval: bool
    retention_days: int | None
    rate_limit: int | None


def create(
    *, name: str, accessor: Accessor = SYSTEM, **fields: Unpack[ModelChanges]
) -> RegisteredModel:
    """Add a model before its first version. Raises RegisteredModelExists."""
    if RegisteredModel.objects.filter(name=name).exists():
        raise RegisteredModelExists(f"Model {name} already exists")
    fields.setdefault("owner", accessor.user)
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.create(name=name, **fields)
            record_change("created", model, accessor, {**fields})
    except IntegrityError as error:
        if RegisteredModel.objects.filter(name=name).exists():
            raise RegisteredModelExists(f"Model {name} already exists") from error
        raise
    return model


def change(
    *, name: str, accessor: Accessor = SYSTEM, **changes: Unpack[ModelChanges]
) -> RegisteredModel:
    """Write these fields only.

    Raises ModelNotFound; PermissionDenied for another owner, who gets every right, unless the
    accessor has them all.
    """
    with transaction.atomic():
        model = RegisteredModel.objects.select_for_update(no_key=True).find(name)
        changed: JSONObject = {
            field: value for field, value in changes.items() if getattr(model, field) != value
        }
        if "owner" in changed and rights.held_on(accessor, model) != set(Right):
            raise PermissionDenied(f"You may not give away model {name}: it takes every right.")
        for field, value in changed.items():
            setattr(model, field, value)
        if changed:
            model.save(update_fields=list(changed))
            record_change("changed", model, accessor, changed)
    return model


def delete(*, name: str, accessor: Accessor = SYSTEM) -> None:
    """Delete a model without versions and aliases, with its grants. Raises ModelNotFound or
    RegisteredModelInUse.
    """
    in_use = f"Model {name} has versions or aliases; delete them first"
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.select_for_update().find(name)
            if is_in_use(name):
                raise RegisteredModelInUse(in_use)
            record_change("deleted", model, accessor, {})
            model.delete()
    except (ProtectedError, IntegrityError) as error:
        raise RegisteredModelInUse(in_use) from error


def is_in_use(name: str) -> bool:
    return (
        ModelVersion.objects.filter(name=name).exists() or Alias.objects.filter(name=name).exists()
    )


def record_change(
    target: str, model: RegisteredModel, accessor: Accessor, changed: JSONObject
) -> None:
    details: JSONObject = {"fields": sorted(changed)}
    details |= {field: changed[field] for field in AUDITED_VALUES if field in changed}
    if "owner" in changed:
        # By the ID: a name must not outlast the anonymisation of its user.
        details["owner_id"] = model.owner_id
    audit.record(
        AuditEvent.Action.MODEL_CHANGED,
        accessor,
        model=model.name,
        target=target,
        details=details,
    )
