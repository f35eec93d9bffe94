"""Giving and taking away the rights of users and groups on a registered model."""

from collections.abc import Collection

from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction

from registry.access import audit, rights
from registry.access.accessor import SYSTEM, Accessor
from registry.models import AuditEvent, Grant, RegisteredModel, Right

# Django's permission to change the grants of every model, whatever rights its holder has.
PERMISSION = "registry.change_grant"


class GrantNotFound(LookupError):
    """The model has no such grant. The message can be shown to the caller."""


def put_grant(
    *,
    model: RegisteredModel,
    user: User | None = None,
    group: Group | None = None,
    held: Collection[Right],
    accessor: Accessor = SYSTEM,
) -> tuple[Grant, bool]:
    """Give a user or a group exactly these rights; also returns whether the grant is new.

    Raises PermissionDenied if a right is given or taken away that the accessor does not have.
    """
    with transaction.atomic():
        # Two requests at the same time wait for each other here.
        RegisteredModel.objects.select_for_update(no_key=True).find(model.name)
        grant = model.grants.filter(user=user, group=group).first()
        before = set(grant.rights) if grant else set()
        is_new = grant is None
        if grant is None:
            grant = Grant(registered_model=model, user=user, group=group)
        _require_held(accessor, model, before ^ set(held))
        for right in Right:
            setattr(grant, right.value, right in held)
        grant.save()
        if is_new or before != set(held):
            record_grant(grant, accessor, before, set(held))
    return grant, is_new


def remove_grant(*, model: RegisteredModel, grant_id: int, accessor: Accessor = SYSTEM) -> None:
    """Raises GrantNotFound; PermissionDenied if it has a right that the accessor does not have."""
    with transaction.atomic():
        RegisteredModel.objects.select_for_update(no_key=True).find(model.name)
        grant = model.grants.select_related("user", "group").filter(pk=grant_id).first()
        if grant is None:
            raise GrantNotFound(f"Grant {grant_id} of model {model.name} not found")
        _require_held(accessor, model, set(grant.rights))
        record_grant(grant, accessor, set(grant.rights), set())
        grant.delete()


def may_change(accessor: Accessor, model: RegisteredModel) -> bool:
    """Whether the accessor may read the grants of a model, and give the rights they have."""
    return any(
        rights.has(accessor, Right.MANAGE_VERSIONS, model.name, permission=permission)
        for permission in (None, PERMISSION)
    )


def _require_held(accessor: Accessor, model: RegisteredModel, changed: set[Right]) -> None:
    if rights.holds_everywhere(accessor, Right.MANAGE_VERSIONS, PERMISSION):
        return
    if missing := sorted(changed - rights.held_on(accessor, model)):
        raise PermissionDenied(
            f"You may not give or take away {', '.join(missing)}: you do not have it yourself."
        )


def record_grant(grant: Grant, accessor: Accessor, before: set[Right], after: set[Right]) -> None:
    # By the ID: a name must not outlast the anonymisation of its user.
    who = f"user {grant.user_id}" if grant.user_id else f"group {grant.group}"
    audit.record(
        AuditEvent.Action.RIGHTS_CHANGED,
        accessor,
        model=grant.registered_model.name,
        target=who,
        details={"before": sorted(before), "after": sorted(after)},
    )
