"""Who may do what with which registered models.

A user has a right on a model

- as a superuser, or with Django's permission of PERMISSIONS: on every model;
- as the model's owner: every right;
- by a Grant, to the user or to one of the user's groups;
- on a model that is not private, if the setting DEFAULT_RIGHTS lists it.

An API key narrows that to its scopes and its models, and never makes its user a superuser.
"""

from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet

from registry.access.accessor import Accessor
from registry.models import Grant, ModelNotFound, RegisteredModel, Right

# Django's permission for all models. Some actions have another one, such as deleting a version:
# they pass it as `permission`.
PERMISSIONS = {
    Right.PREDICT: "predictions.add_prediction",
    Right.READ_LOG: "predictions.view_prediction",
    Right.REPORT_OUTCOMES: "predictions.add_outcome",
    Right.MANAGE_VERSIONS: "registry.change_modelversion",
    Right.MOVE_ALIASES: "registry.change_alias",
}
# A user with one of these may know of every model, as on the pages of the admin.
PERMISSIONS_TO_SEE_ALL = (
    *PERMISSIONS.values(),
    *(
        f"registry.{action}_{table}"
        for table in ("registeredmodel", "modelversion", "alias")
        for action in ("view", "add", "change", "delete")
    ),
)

Rows = TypeVar("Rows", bound=QuerySet[Any, Any])


def models_with(
    accessor: Accessor, right: Right, *, permission: str | None = None
) -> QuerySet[RegisteredModel]:
    """The registered models on which the accessor has this right."""
    rows = _within_key(accessor, right)
    if has_on_all(accessor, right, permission):
        return rows
    condition = Q(owner=accessor.user) | Q(pk__in=_granted(accessor, Q(**{right.value: True})))
    if right in settings.DEFAULT_RIGHTS:
        condition |= Q(is_private=False)
    return rows.filter(condition)


def visible_models(accessor: Accessor) -> QuerySet[RegisteredModel]:
    """The registered models that the accessor may know of."""
    rows = _within_key(accessor, None)
    if _user_sees_all(accessor):
        return rows
    granted = _granted(accessor, Q())
    return rows.filter(Q(is_private=False) | Q(owner=accessor.user) | Q(pk__in=granted))


def has_on_all(accessor: Accessor, right: Right, permission: str | None = None) -> bool:
    """Whether the user has the right on every model, whatever the models' grants say. A key may
    narrow that: see `holds_everywhere`.
    """
    user = _person(accessor)
    return user is None or user.is_superuser or user.has_perm(permission or PERMISSIONS[right])


def holds_everywhere(accessor: Accessor, right: Right, permission: str | None = None) -> bool:
    """Whether the accessor has the right on every model, those of the future included."""
    key = accessor.key
    is_allowed_by_key = key is None or (key.all_models and right in key.rights)
    return is_allowed_by_key and has_on_all(accessor, right, permission)


def has(accessor: Accessor, right: Right, name: str, *, permission: str | None = None) -> bool:
    """Whether the accessor has the right on this model; with the right on every model, also on one
    that does not exist.
    """
    return (
        holds_everywhere(accessor, right, permission)
        or models_with(accessor, right, permission=permission).filter(name=name).exists()
    )


def require(accessor: Accessor, right: Right, name: str, *, permission: str | None = None) -> None:
    """Raise ModelNotFound if the accessor may not know of this model, PermissionDenied if they lack
    the right.
    """
    if has(accessor, right, name, permission=permission):
        return
    if not visible_models(accessor).filter(name=name).exists():
        raise ModelNotFound(f"Model {name} not found")
    raise PermissionDenied(f"You may not {right.label} of model {name}.")


def held_on(accessor: Accessor, model: RegisteredModel) -> set[Right]:
    """The rights that the accessor has on this model."""
    return {right for right in Right if models_with(accessor, right).filter(pk=model.pk).exists()}


def visible(rows: Rows, accessor: Accessor, name: str = "name") -> Rows:
    """The rows whose model the accessor may know of; `name` is the field with its name."""
    key = accessor.key
    if (key is None or key.all_models) and _user_sees_all(accessor):
        return rows
    return rows.filter(**{f"{name}__in": visible_models(accessor).values("name")})


def with_right(rows: Rows, accessor: Accessor, right: Right, name: str = "name") -> Rows:
    """The rows on whose model the accessor has the right."""
    if holds_everywhere(accessor, right):
        return rows
    return rows.filter(**{f"{name}__in": models_with(accessor, right).values("name")})


def within_key(rows: Rows, accessor: Accessor, name: str = "name") -> Rows:
    """The rows whose model the accessor's key is for; all of them without a key."""
    key = accessor.key
    if key is None or key.all_models:
        return rows
    return rows.filter(**{f"{name}__in": key.registered_models.values("name")})


def _user_sees_all(accessor: Accessor) -> bool:
    user = _person(accessor)
    return user is None or user.is_superuser or any(map(user.has_perm, PERMISSIONS_TO_SEE_ALL))


def _person(accessor: Accessor) -> User | None:
    """The accessor's user without what a key takes from them: here, `_within_key` does that."""
    return accessor.user if accessor.key is None else accessor.key.owner


def _within_key(accessor: Accessor, right: Right | None) -> QuerySet[RegisteredModel]:
    key, rows = accessor.key, RegisteredModel.objects.all()
    if key is None:
        return rows
    if right is not None and right not in key.rights:
        return rows.none()
    return rows if key.all_models else rows.filter(pk__in=key.registered_models.values("pk"))


def _granted(accessor: Accessor, condition: Q) -> QuerySet[Grant]:
    user = accessor.user
    assert user is not None
    mine = Q(user=user) | Q(group__in=user.groups.values("pk"))
    return Grant.objects.filter(condition & mine).values("registered_model")  # type: ignore[return-value]
