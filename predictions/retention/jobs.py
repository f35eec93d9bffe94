"""Erasures and retention as jobs."""

from contextlib import suppress

from django.conf import settings
from django.db import transaction

from predictions.jobs.kinds import JobKind
from predictions.jobs.running import JobStopped, RunningJob
from predictions.jobs.visibility import require_permission
from predictions.models import Erasure
from predictions.partitions.archiving import archive_to
from predictions.partitions.errors import ArchiveFailed
from predictions.retention import erasing, partitions, pruning
from predictions.retention.errors import ErasureTooLarge, HeldByLaw, NamesSubject
from predictions.retention.pseudonyms import pseudonym_of
from predictions.retention.serializers import ErasureRequest
from registry.access.accessor import Accessor
from registry.exact_json.serializers import StrictSerializer, StrictTextField
from registry.exact_json.values import JSONObject
from registry.models import ModelNotFound, RegisteredModel

# In one transaction, as by default of `manage.py erase_subject`.
MAX_ERASED_ROWS = 1_000_000


def require_erasure(accessor: Accessor, parameters: JSONObject) -> str:
    """The one model, if any, that the erasure is limited to."""
    require_permission(accessor, "predictions.add_erasure")
    model: str = parameters.get("model", "")
    return model


def run_erasure(running: RunningJob) -> JSONObject:
    """Erase in one transaction, with the position, so that it is done and recorded once."""
    if running.cursor is not None:
        erasure = Erasure.objects.get(pk=running.cursor["erasure_id"])
    else:
        fields = running.parameters
        kind = Erasure.Kind.SUBJECT if "subject" in fields else Erasure.Kind.REFERENCE
        with transaction.atomic():
            erasure = erasing.erase(
                kind=kind,
                name=fields[kind.value],
                model=fields.get("model", ""),
                reason=fields["reason"],
                accessor=running.accessor,
                max_rows=MAX_ERASED_ROWS,
            )
            running.checkpoint({"erasure_id": erasure.pk}, erasure.counts["predictions"])
    return {"erasure_id": erasure.pk, "counts": erasure.counts, "remains": list(erasing.REMAINS)}


def redact_erasure(parameters: JSONObject) -> JSONObject:
    """With the pseudonym in the place of the name."""
    redacted = dict(parameters)
    for name in ("subject", "reference"):
        if name in redacted:
            redacted[f"{name}_pseudonym"] = pseudonym_of(str(redacted.pop(name)))
    return redacted


class RetentionParameters(StrictSerializer):
    model = StrictTextField(
        required=False, max_length=100, help_text="Only of this registered model."
    )


def require_retention(accessor: Accessor, parameters: JSONObject) -> str:
    """The one model, if any, whose retention is applied; raises ModelNotFound."""
    require_permission(accessor, "predictions.delete_prediction")
    name: str = parameters.get("model", "")
    if name:
        RegisteredModel.objects.find(name)
    return name


def run_retention(running: RunningJob) -> JSONObject:
    """Delete what is past the retention of its model, as `manage.py work` does every hour.

    It can be repeated: what is deleted is not found again.
    """
    model, rows_done = running.parameters.get("model"), running.rows_done

    def may_continue() -> bool:
        return not running.is_stopping()

    def count(n_rows: int) -> None:
        nonlocal rows_done
        rows_done += n_rows
        # Not raised here: `prune` ends by itself, after it has told the audit trail.
        with suppress(JobStopped):
            running.checkpoint(running.cursor, rows_done)

    parts = [due for due in pruning.past_retention() if model in (None, due.model)]
    rows_before = rows_done
    # Its own count: a transaction that it gives up has made a checkpoint of too many rows.
    rows_done += partitions.drop_due(
        parts,
        archive=archive_to(settings.RETENTION_ARCHIVE),
        may_continue=may_continue,
        committing=lambda n_rows: running.checkpoint(running.cursor, rows_before + n_rows),
        accessor=running.accessor,
    )
    running.require_running()
    for due in parts:
        pruning.prune(
            pruning.after_grace(due),
            count,
            may_continue=may_continue,
            accessor=running.accessor,
        )
        running.require_running()
    return {"predictions": rows_done}


ERASURE = JobKind(
    name="erasure",
    description="Deletes all that is recorded about a subject or reference, in one transaction.",
    parameters=ErasureRequest,
    require_rights=require_erasure,
    run=run_erasure,
    permission="predictions.view_erasure",
    explained=(ErasureTooLarge, HeldByLaw, ModelNotFound, NamesSubject),
    redact=redact_erasure,
)
RETENTION_NOW = JobKind(
    name="retention",
    description="Deletes predictions that are past the retention_days of their model.",
    parameters=RetentionParameters,
    require_rights=require_retention,
    run=run_retention,
    permission="predictions.delete_prediction",
    # The archive may be down; until it is not, nothing is deleted.
    retried=(ArchiveFailed,),
    explained=(ModelNotFound,),
)
