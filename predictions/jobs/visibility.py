"""Who may see a job, and who may cancel it."""

from typing import cast

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet

from predictions.jobs import kinds
from predictions.jobs.kinds import JobKind
from predictions.models import Job
from predictions.models.jobs import JobQuerySet
from registry.access import rights
from registry.access.accessor import Accessor
from registry.models import Right

PERMISSION_TO_CHANGE = "predictions.change_job"


def readable_by(accessor: Accessor, rows: QuerySet[Job]) -> JobQuerySet:
    """The accessor's own jobs, and those of kinds whose right they have on the job's model.

    An API key sees the jobs of its models, and of kinds whose right is among its scopes.
    """
    if accessor.user is None:
        return cast(JobQuerySet, rows)
    own = Q(created_by=accessor.user)
    condition = own if accessor.key is None else Q(pk__in=())
    for kind in kinds.registered():
        of_kind = Q(kind=kind.name)
        if kind.right is None:
            if accessor.key is None and accessor.user.has_perm(str(kind.permission)):
                condition |= of_kind
        elif rights.holds_everywhere(accessor, kind.right, kind.permission):
            condition |= of_kind
        else:
            models = rights.models_with(accessor, kind.right, permission=kind.permission)
            condition |= of_kind & Q(model_name__in=models.values("name"))
            if accessor.key is not None and kind.right in accessor.key.rights:
                condition |= of_kind & own & _within(accessor)
    return cast(JobQuerySet, rows.filter(condition))


def _within(accessor: Accessor) -> Q:
    """The models that the accessor's key is for."""
    key = accessor.key
    if key is None or key.all_models:
        return Q()
    return Q(model_name__in=key.registered_models.values("name"))


def may_read_parameters(accessor: Accessor, job: Job) -> bool:
    """Whether they may see what exactly was asked for: it can name other models than the job's."""
    if accessor.user is None or job.created_by_id == accessor.user.pk:
        return True
    kind = kinds.get(job.kind)
    return kind is not None and _holds_everywhere(accessor, kind)


def _holds_everywhere(accessor: Accessor, kind: JobKind) -> bool:
    if kind.right is not None:
        return rights.holds_everywhere(accessor, kind.right, kind.permission)
    user = accessor.user
    return accessor.key is None and user is not None and user.has_perm(str(kind.permission))


def require_changeable(accessor: Accessor, job: Job) -> None:
    """Raise PermissionDenied unless it is the accessor's own job, or they manage its model."""
    user = accessor.user
    if user is None or job.created_by_id == user.pk:
        return
    permission = PERMISSION_TO_CHANGE
    if not rights.has(accessor, Right.MANAGE_VERSIONS, job.model_name, permission=permission):
        raise PermissionDenied("You may change your own jobs, and those of models that you manage.")
