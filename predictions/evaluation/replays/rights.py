"""Who may replay what."""

from django.core.exceptions import PermissionDenied

from predictions.evaluation.replays.plan import Plan, find_version
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, Right


def plan_for(accessor: Accessor, fields: JSONObject) -> Plan:
    """The plan that the validated fields of a ReplayRequest describe.

    Raises ModelNotFound, or PermissionDenied unless the accessor may read the log of the one model
    and request predictions of the other, or manage its versions.
    """
    versions = {
        name: find_version(fields[name], accessor) for name in ("from_version", "to_version")
    }
    _require_rights(accessor, versions["from_version"], versions["to_version"])
    return Plan(**(fields | versions))


def _require_rights(accessor: Accessor, recorded: ModelVersion, new: ModelVersion) -> None:
    rights.require(accessor, Right.READ_LOG, recorded.name)
    for right, permission in (
        (Right.PREDICT, None),
        (Right.PREDICT, "predictions.add_replay"),
        (Right.MANAGE_VERSIONS, None),
    ):
        if rights.has(accessor, right, new.name, permission=permission):
            return
    raise PermissionDenied(f"You may not {Right.PREDICT.label} of model {new.name}.")
