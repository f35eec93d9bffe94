"""Who may do what with which registered models.

A user has a right on a model

- as a superuser, or with Django's permission of PERMISSIONS: on every model;
- as the model's owner: every right;
- by a Grant, to the user or to one of the user's groups;
- on a model that is not private, if the setting DEFAULT_RIGHTS lists it.

An API key narrows that to its scopes and its models, and never makes its user a superuser.
"""

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet

from registry.access.accessor import Accessor
from registry.models import Grant, ModelNotFound, RegisteredModel, Right

# Django's permission for all models; the other actions of a right have permissions of their own,
# which the views check.
PERMISSIONS = {
    Right.PREDICT: "predictions.add_prediction",
    Right.READ_LOG: "predictions.view_prediction",
    Right.REPORT_OUTCOMES: "predictions.add_outcome",
    Right.MANAGE_VERSIONS: "registry.change_modelversion",
    Right.MOVE_ALIASES: "registry.change_alias",
}


def models_with(accessor: Accessor, right: Right) -> QuerySet[RegisteredModel]:
    """The registered models on which the accessor has this right."""
    rows = _within_key(accessor, right)
    if has_on_all(accessor, right):
        return rows
    condition = Q(owner=accessor.user) | Q(pk__in=_granted(accessor, Q(**{right.value: True})))
    if right in settings.DEFAULT_RIGHTS:
        condition |= Q(is_private=False)
    return rows.filter(condition)


def visible_models(accessor: Accessor) -> QuerySet[RegisteredModel]:
    """The registered models of which the accessor may know that they exist."""
    rows = _within_key(accessor, None)
    if any(has_on_all(accessor, right) for right in Right):
        return rows
    granted = _granted(accessor, Q())
    return rows.filter(Q(is_private=False) | Q(owner=accessor.user) | Q(pk__in=granted))


def has_on_all(accessor: Accessor, right: Right) -> bool:
    """Whether the user has the right on every model, whatever the models' grants say."""
    user = accessor.user
    return user is None or user.is_superuser or user.has_perm(PERMISSIONS[right])


def require(accessor: Accessor, right: Right, name: str) -> None:
    """Raise ModelNotFound if the accessor may not know of this model, PermissionDenied if they lack
    the right.
    """
    if models_with(accessor, right).filter(name=name).exists():
        return
    if not visible_models(accessor).filter(name=name).exists():
        raise ModelNotFound(f"Model {name} not found")
    raise PermissionDenied(f"You may not {right.label} of model {name}.")


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
    mine = Q(user=user) | Q(group__in=user.groups.all())
    return Grant.objects.filter(condition & mine).values("registered_model")  # type: ignore[return-value]
