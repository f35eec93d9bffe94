"""Changing monitors: each change is one transaction with its entry in the audit trail."""

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from predictions.evaluation.counting.segments import segments_changed
from predictions.evaluation.monitoring.alerts.lifecycle import close_alerts_of
from predictions.evaluation.monitoring.segments import InvalidSegments, require_known_features
from predictions.models import Monitor
from registry.access import audit, rights
from registry.access.accessor import SYSTEM, Accessor
from registry.exact_json.values import JSONObject
from registry.models import AuditEvent, RegisteredModel, Right

MAX_MONITORS_PER_MODEL = 20
# What the counts by hour depend on.
COUNTED_FIELDS = {"segments", "is_active"}


class MonitorExists(Exception):
    """The name is taken. The message can be shown to the caller."""


class TooManyMonitors(Exception):
    """The model has as many monitors as it may. The message can be shown to the caller."""


class InvalidMonitor(ValueError):
    """Fields do not fit the model; `errors` maps their names to messages."""

    def __init__(self, field: str, message: str) -> None:
        self.errors = {field: [message]}
        super().__init__(f"{field}: {message}")


class MonitorFields(TypedDict, total=False):
    """What users set; the serializer has validated each on its own."""

    name: str
    window_hours: int
    segments: Sequence[JSONObject]
    min_severity: str
    emails: Sequence[str]
    rolls_back_canary: bool
    is_active: bool


def create(
    model: RegisteredModel, *, accessor: Accessor = SYSTEM, **fields: Unpack[MonitorFields]
) -> Monitor:
    """Raises MonitorExists, TooManyMonitors, InvalidMonitor or PermissionDenied."""
    monitor = Monitor(registered_model=model, created_by=accessor.user, **fields)
    _validate(monitor, fields)
    if monitor.rolls_back_canary:
        _require_right_to_move_aliases(monitor, accessor)
    with transaction.atomic():
        # Others who add a monitor wait here, so that they are counted.
        RegisteredModel.objects.select_for_update(no_key=True).find(model.name)
        if Monitor.objects.filter(registered_model=model).count() >= MAX_MONITORS_PER_MODEL:
            raise TooManyMonitors(
                f"Model {model.name} has {MAX_MONITORS_PER_MODEL} monitors; delete one first"
            )
        _save(monitor)
        if monitor.segments and monitor.is_active:
            segments_changed(model.name)
        _record("created", monitor, accessor, fields)
    return monitor


def update(
    monitor: Monitor, *, accessor: Accessor = SYSTEM, **fields: Unpack[MonitorFields]
) -> None:
    """Change these fields only. Raises MonitorExists, InvalidMonitor, PermissionDenied or, if it
    was deleted in the meantime, MonitorNotFound.
    """
    for name, value in fields.items():
        setattr(monitor, name, value)
    with transaction.atomic():
        # Not the row in hand: a form of the admin has changed it already.
        before = Monitor.objects.select_for_update(no_key=True, of=("self",)).find(monitor.pk)
        changed = {name: value for name, value in fields.items() if getattr(before, name) != value}
        _validate(monitor, changed)
        if changed:
            rolls_back = changed.get("rolls_back_canary", before.rolls_back_canary)
            # A stopped monitor moves nothing, and all who manage one must be able to stop it.
            if rolls_back and changed != {"is_active": False}:
                _require_right_to_move_aliases(monitor, accessor)
            _save(monitor, list(changed))
            _record("changed", monitor, accessor, changed)
        if COUNTED_FIELDS.intersection(changed) and (before.segments or monitor.segments):
            segments_changed(monitor.registered_model.name)
        if changed.get("is_active") is False:
            close_alerts_of(monitor)


def delete(monitor: Monitor, *, accessor: Accessor = SYSTEM) -> None:
    """Delete the monitor with its reports and alerts. Raises MonitorNotFound if it was deleted in
    the meantime.
    """
    with transaction.atomic():
        # A report that is being written must be committed first, to be deleted as well.
        Monitor.objects.select_for_update(of=("self",)).find(monitor.pk)
        _record("deleted", monitor, accessor)
        if monitor.segments:
            segments_changed(monitor.registered_model.name)
        monitor.delete()


def _validate(monitor: Monitor, changes: Mapping[str, object]) -> None:
    if "segments" in changes:
        try:
            require_known_features(monitor.segments, monitor.registered_model.name)
        except InvalidSegments as error:
            raise InvalidMonitor("segments", str(error)) from error


def _require_right_to_move_aliases(monitor: Monitor, accessor: Accessor) -> None:
    """Any change of a monitor that rolls back canaries takes it: segments and windows decide when
    an alias moves as well, and activating it again does.
    """
    name = monitor.registered_model.name
    if not rights.has(accessor, Right.MOVE_ALIASES, name):
        raise PermissionDenied(
            f"A monitor with rolls_back_canary moves aliases, and you may not"
            f" {Right.MOVE_ALIASES.label} of model {name}."
        )


def _save(monitor: Monitor, fields: Sequence[str] | None = None) -> None:
    try:
        # The savepoint keeps the transaction usable for the query below.
        with transaction.atomic():
            monitor.save(update_fields=fields, force_insert=fields is None)
    except IntegrityError as error:
        others = Monitor.objects.filter(
            registered_model=monitor.registered_model, name=monitor.name
        ).exclude(pk=monitor.pk)
        if others.exists():
            raise MonitorExists(
                f"Model {monitor.registered_model.name} has another monitor named {monitor.name}"
            ) from error
        raise


def _record(
    change: str, monitor: Monitor, accessor: Accessor, fields: Mapping[str, object] | None = None
) -> None:
    details: JSONObject = {"change": change, "monitor": monitor.pk}
    if fields:
        details["fields"] = dict(fields)
        if "emails" in fields:
            # Addresses are personal data, and events are kept for ever.
            details["fields"]["emails"] = f"{len(monitor.emails)} addresses"
    audit.record(
        AuditEvent.Action.MONITOR_CHANGED,
        accessor,
        model=monitor.registered_model.name,
        target=monitor.name,
        details=details,
    )
