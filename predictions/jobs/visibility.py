"""Who may see, start and cancel a job."""

from typing import cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet

from predictions.jobs import kinds
from predictions.jobs.kinds import JobKind
from predictions.models import Job
from predictions.models.jobs import JobQuerySet
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import ApiKey, Right

PERMISSION_TO_CHANGE = "predictions.change_job"
NO_LONGER_ALLOWED = "The creator of this job may not run it any more"


def readable_by(accessor: Accessor, rows: QuerySet[Job]) -> JobQuerySet:
    """The accessor's own jobs, and those of kinds whose right they have on the job's model.

    An API key sees the jobs of its models alone: those that it has created, and those of kinds
    whose right is in its scopes.
    """
    if accessor.user is None:
        return cast(JobQuerySet, rows)
    condition = Q(created_by=accessor.user)
    if accessor.key is not None:
        scoped = [kind.name for kind in kinds.registered() if _is_in_scope(accessor.key, kind)]
        condition &= Q(api_key=accessor.key) | Q(kind__in=scoped)
    for kind in kinds.registered():
        if _holds_everywhere(accessor, kind):
            condition |= Q(kind=kind.name)
        elif kind.right is not None:
            models = rights.models_with(accessor, kind.right, permission=kind.permission)
            condition |= Q(kind=kind.name, model_name__in=models.values("name"))
    rows = rights.within_key(rows, accessor, "model_name")
    return cast(JobQuerySet, rows.filter(condition))


def may_read_parameters(accessor: Accessor, job: Job) -> bool:
    """Whether they may see what exactly was asked for: it can name other models than the job's."""
    if accessor.user is None or _is_own(accessor, job):
        return True
    kind = kinds.get(job.kind)
    return kind is not None and _holds_everywhere(accessor, kind)


def _is_own(accessor: Accessor, job: Job) -> bool:
    """Whether they created it. To an API key, other jobs of its user are its own as well if their
    kind's right is in its scopes.
    """
    if accessor.user is None or job.created_by_id != accessor.user.pk:
        return False
    if accessor.key is None or job.api_key_id == accessor.key.pk:
        return True
    kind = kinds.get(job.kind)
    return kind is not None and _is_in_scope(accessor.key, kind)


def _is_in_scope(key: ApiKey, kind: JobKind) -> bool:
    return kind.right is not None and kind.right in key.rights


def _holds_everywhere(accessor: Accessor, kind: JobKind) -> bool:
    if kind.right is not None:
        return rights.holds_everywhere(accessor, kind.right, kind.permission)
    return _has_permission(accessor, str(kind.permission))


def _has_permission(accessor: Accessor, permission: str) -> bool:
    user = accessor.user
    return accessor.key is None and user is not None and user.has_perm(permission)


def require_permission(accessor: Accessor, permission: str) -> None:
    """Raise PermissionDenied unless they have one of Django's permissions, which no API key has."""
    if accessor.user is not None and not _has_permission(accessor, permission):
        raise PermissionDenied(f"Requires the permission {permission}, which no API key has.")


def creator_refusal(accessor: Accessor) -> str:
    """Why jobs of this creator may not run any more, as of now; empty if they may."""
    user, key = accessor.user, accessor.key
    if user is not None and not User.objects.filter(pk=user.pk, is_active=True).exists():
        return f"{NO_LONGER_ALLOWED}: the user is inactive"
    if key is not None and not ApiKey.objects.valid().filter(pk=key.pk).exists():
        return f"{NO_LONGER_ALLOWED}: the API key was revoked or has expired"
    return ""


def require_changeable(accessor: Accessor, job: Job) -> None:
    """Raise PermissionDenied unless it is the accessor's own job, or they manage its model."""
    if accessor.user is None or _is_own(accessor, job):
        return
    permission = PERMISSION_TO_CHANGE
    if not rights.has(accessor, Right.MANAGE_VERSIONS, job.model_name, permission=permission):
        raise PermissionDenied("You may change your own jobs, and those of models that you manage.")
