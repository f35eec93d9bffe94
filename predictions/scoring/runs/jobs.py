"""Scoring tables as jobs, between locations that the setting JOB_LOCATIONS allows."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.conf import settings
from rest_framework import serializers

from predictions.export.destinations.base import DestinationUnavailable, DestinationUnusable
from predictions.export.formats import FORMATS, FormatUnavailable
from predictions.jobs.kinds import JobKind
from predictions.jobs.locations import LocationField, LocationRefused, require_allowed
from predictions.jobs.running import RowError, RunningJob
from predictions.scoring.engines.options import EngineOptions
from predictions.scoring.runs.pinning import Pinned, model_of, pin, renewed
from predictions.scoring.runs.requests import PART_ROWS, Asker, Request, Watch, running_module
from predictions.scoring.work import (
    Arms,
    EngineUnavailable,
    Receipt,
    ScoringFailed,
    ScoringInterrupted,
)
from registry.access import rights
from registry.access.accessor import Accessor
from registry.artifacts.errors import StorageUnavailable
from registry.exact_json.serializers import StrictSerializer, StrictTextField
from registry.exact_json.values import JSONObject
from registry.loading.errors import ArtifactMissing, ModelQuarantined
from registry.models import ModelNotFound, Right

if TYPE_CHECKING:
    from predictions.scoring.planning import Plan

MAX_SOURCES = 1000
MAX_COLUMN_LENGTH = 200
MAX_SPECIFIER_LENGTH = 200
# By the options that the command has for them.
PARAMETERS = {
    "--from": "sources",
    "--id-column": "id_column",
    "--subject-column": "subject_column",
    "--part-rows": "part_rows",
    "--canary": "canary",
    "--record": "record",
    "--format": "format",
}


class ScoreParameters(StrictSerializer):
    sources = serializers.ListField(
        child=LocationField(),
        min_length=1,
        max_length=MAX_SOURCES,
        help_text="Files, or patterns such as /data/*.parquet, below one of JOB_LOCATIONS.",
    )
    to = LocationField(help_text="A folder or URL below one of JOB_LOCATIONS; it must be empty.")
    model = StrictTextField(
        max_length=MAX_SPECIFIER_LENGTH, help_text="name, name@alias or name:version."
    )
    format = serializers.ChoiceField(choices=list(FORMATS), default="parquet")
    id_column = StrictTextField(max_length=MAX_COLUMN_LENGTH, required=False)
    subject_column = StrictTextField(max_length=MAX_COLUMN_LENGTH, required=False)
    canary = serializers.BooleanField(
        default=False, help_text="Let the alias's canary answer its share of the subjects."
    )
    record = serializers.BooleanField(
        default=False, help_text="Record each row in the log, as requests are."
    )
    part_rows = serializers.IntegerField(
        default=PART_ROWS, min_value=1, max_value=10_000_000, help_text="Rows of a part."
    )

    def validate(self, attrs: JSONObject) -> JSONObject:
        try:
            _request(attrs)
        except ScoringFailed as error:
            raise serializers.ValidationError(_for_caller(error)) from error
        return attrs


def require_rights(accessor: Accessor, parameters: JSONObject) -> str:
    """The model that answers, of which the accessor must be allowed to request predictions."""
    name = model_of(parameters["model"])
    rights.require(accessor, Right.PREDICT, name)
    return name


def run(running: RunningJob) -> JSONObject:
    """Do the parts that are missing: the destination itself holds the position.

    The versions are pinned by the first attempt, in the cursor.
    """
    try:
        return _run(running)
    except ScoringFailed as error:
        raise ScoringFailed(_for_caller(error)) from error


def _run(running: RunningJob) -> JSONObject:
    module, request = running_module(), _request(running.parameters)
    pinned = _pinned(running, request)
    # A pattern may find links that lead out of the allowed folder.
    sources = module.find_inputs(request, require_allowed)
    engine = module.open_engine(EngineOptions(workers=settings.SCORE_WORKERS))
    plan = module.plan_run(
        request, sources, Watch(read=lambda _: running.require_running()), pinned
    )
    manifest, _ = module.carry_out(plan, engine, _watch(running), _asker(running))
    _report_errors(running, manifest)
    return {
        "destination": request.destination,
        "versions": [version.name for version in pinned.arms.versions],
        "parts": len(manifest["parts"]),
        **{name: manifest[name] for name in ("rows", "failed", "size_bytes", "sha256", "run")},
        **({"recorded": manifest["recorded"]} if request.is_recorded else {}),
    }


def _for_caller(error: ScoringFailed) -> str:
    """The message with the names of parameters in place of the command's options."""
    message = str(error)
    for option, name in PARAMETERS.items():
        message = message.replace(option, name)
    return message


def _pinned(running: RunningJob, request: Request) -> Pinned:
    if running.cursor is not None:
        document = running.cursor["pinned"]
        return renewed(Pinned(Arms.from_json(document["arms"]), document["alias"]))
    pinned = pin(request.model, with_canary=request.with_canary)
    running.checkpoint({"pinned": asdict(pinned)}, 0)
    return pinned


def _watch(running: RunningJob) -> Watch:
    rows = 0

    def planned(plan: "Plan", done: Sequence[Receipt]) -> None:
        nonlocal rows
        rows = sum(receipt.rows for receipt in done)
        known = [task.rows for task in plan.tasks]
        if None not in known:
            running.expect(sum(count or 0 for count in known))

    def done(receipt: Receipt) -> None:
        nonlocal rows
        rows += receipt.rows
        running.progress(rows)
        running.require_running()

    return Watch(planned=planned, done=done, recorded=lambda _: running.require_running())


def _asker(running: RunningJob) -> Asker:
    user, key = running.accessor.user, running.accessor.key
    return Asker(None if user is None else user.pk, None if key is None else key.pk)


def _report_errors(running: RunningJob, manifest: JSONObject) -> None:
    """Commit the errors by row, once."""
    cursor: JSONObject = running.cursor or {}
    if cursor.get("is_reported"):
        return
    errors = [
        RowError(error["row"] - 1, f"{error['file']}: {error['error']}")
        for error in manifest["errors"]
    ]
    running.checkpoint({**cursor, "is_reported": True}, manifest["rows"], errors)


def _request(parameters: JSONObject) -> Request:
    given: dict[str, Any] = {
        "sources": parameters["sources"],
        "destination": parameters["to"],
        "model": parameters["model"],
        "format": parameters["format"],
        "id_column": parameters.get("id_column"),
        "subject_column": parameters.get("subject_column"),
        "with_canary": parameters["canary"],
        "is_recorded": parameters["record"],
        "part_rows": parameters["part_rows"],
    }
    return Request(**given)


SCORE = JobKind(
    name="score",
    description="Scores the rows of files with a version, and writes a table of the answers.",
    parameters=ScoreParameters,
    require_rights=require_rights,
    run=run,
    # Their errors by row may quote what others have sent.
    right=Right.READ_LOG,
    retried=(DestinationUnavailable, ScoringInterrupted, StorageUnavailable),
    explained=(
        ArtifactMissing,
        DestinationUnusable,
        EngineUnavailable,
        FormatUnavailable,
        LocationRefused,
        ModelNotFound,
        ModelQuarantined,
        ScoringFailed,
    ),
)
