"""Exports as jobs, to locations that the setting JOB_LOCATIONS allows."""

import re

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from rest_framework import serializers

from predictions.export import runner
from predictions.export.columns import INPUTS
from predictions.export.destinations import open_destination
from predictions.export.destinations.base import (
    Destination,
    DestinationUnavailable,
    DestinationUnusable,
)
from predictions.export.formats import FORMATS, FormatUnavailable
from predictions.export.manifest import Plan
from predictions.export.selection import Selection
from predictions.filters import PredictionQuery
from predictions.following import LogRestored
from predictions.jobs.kinds import JobKind
from predictions.jobs.locations import LocationField
from predictions.jobs.running import RunningJob
from predictions.models import Prediction
from predictions.models.predictions import PredictionQuerySet
from predictions.reads import describe
from registry.access import audit, rights
from registry.access.accessor import Accessor
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject
from registry.models import AuditEvent, ModelNotFound, ModelVersion, Right
from registry.pagination import MAX_ID

PART_ROWS = 1_000_000
MAX_PART_ROWS = 10_000_000
# How long to wait for open transactions; no caller waits for the answer.
MAX_WAIT_SECONDS = 30.0


class ExportFilters(StrictSerializer, PredictionQuery):
    """Those of the list of predictions; an unknown one is an error."""


class ExportParameters(StrictSerializer):
    to = LocationField(help_text="A folder or URL below one of JOB_LOCATIONS; it must be empty.")
    format = serializers.ChoiceField(choices=list(FORMATS), default="parquet")
    inputs = serializers.ChoiceField(choices=list(INPUTS), required=False)
    part_rows = serializers.IntegerField(
        default=PART_ROWS, min_value=1, max_value=MAX_PART_ROWS, help_text="Rows of a file."
    )
    from_position = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MAX_ID,
        help_text="Continue an earlier export: positions.to in its _manifest.json.",
    )
    filters = ExportFilters(default=dict)


def require_rights(accessor: Accessor, parameters: JSONObject) -> str:
    """The model of the filters, whose log the accessor must be allowed to read; without a model,
    that of all.
    """
    name = _model_of(parameters["filters"], accessor)
    if name:
        rights.require(accessor, Right.READ_LOG, name)
    elif not rights.holds_everywhere(accessor, Right.READ_LOG):
        raise PermissionDenied(
            "You may not read the predictions of every model: give filters.model or"
            " filters.model_id."
        )
    return name


def _model_of(filters: JSONObject, accessor: Accessor) -> str:
    if "model" in filters:
        return re.split("[:@]", filters["model"])[0]
    if "model_id" not in filters:
        return ""
    return rights.visible(ModelVersion.objects.all(), accessor).find(filters["model_id"]).name


def run(running: RunningJob) -> JSONObject:
    """Write the parts that are missing: the destination itself holds the position."""
    parameters, accessor = running.parameters, running.accessor
    if running.cursor is None:
        _record(running)
    filters = parameters["filters"]
    rows = Prediction.objects.readable_by(accessor).matching(**filters)
    plan = runner.plan_export(
        rows,
        filter={name: str(value) for name, value in filters.items()},
        format=parameters["format"],
        inputs=parameters.get("inputs"),
        part_rows=parameters["part_rows"],
        start=parameters["from_position"],
        mlapi=settings.VERSION,
        max_wait_seconds=MAX_WAIT_SECONDS,
    )
    place = open_destination(parameters["to"])
    with place.lock():
        manifest = runner.find_manifest(place, plan) or _export(running, place, plan, rows)
    running.checkpoint(running.cursor, manifest["rows"])
    return {
        "destination": str(place),
        "rows": manifest["rows"],
        "size_bytes": manifest["size_bytes"],
        "parts": len(manifest["parts"]),
        "sha256": manifest["sha256"],
        "position": manifest["positions"]["to"],
    }


def _export(
    running: RunningJob, place: Destination, plan: Plan, rows: PredictionQuerySet
) -> JSONObject:
    plan, receipts = runner.resume_or_start(place, plan)
    # The planner's estimate: counting the rows may take as long as exporting them.
    if (estimate := Selection(rows, plan.positions).estimate()) is not None:
        running.expect(estimate)
    done = sum(receipt.rows for receipt in receipts)

    def report(n_rows: int) -> None:
        nonlocal done
        done += n_rows
        running.progress(done)
        running.require_running()

    return runner.run(rows, plan, receipts, place, report)


def _record(running: RunningJob) -> None:
    """Record the export in the audit trail, once, before anything is read."""
    filters = running.parameters["filters"]
    with transaction.atomic():
        audit.record(
            AuditEvent.Action.EXPORTED,
            running.accessor,
            model=running.job.model_name,
            target="predictions",
            details={
                "job_id": running.job.pk,
                "format": running.parameters["format"],
                "filters": describe(filters),
            },
        )
        running.checkpoint({"is_recorded": True}, 0)


def redact(parameters: JSONObject) -> JSONObject:
    """The parameters without the subjects and references in their filters."""
    if not isinstance(parameters.get("filters"), dict):
        return parameters
    return parameters | {"filters": describe(parameters["filters"])}


EXPORT = JobKind(
    name="export",
    description="Writes predictions to files in a folder or in object storage.",
    parameters=ExportParameters,
    require_rights=require_rights,
    run=run,
    right=Right.READ_LOG,
    retried=(DestinationUnavailable, runner.ExportTaken),
    explained=(
        DestinationUnusable,
        FormatUnavailable,
        LogRestored,
        ModelNotFound,
        runner.OtherExport,
    ),
    redact=redact,
)
