"""Records outcomes: all reports of a request in one transaction, or none of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from predictions.evaluation.labels import label_text, labels_by_spelling
from predictions.evaluation.outcomes.reports import Report
from predictions.evaluation.quality.tasks import NoQuality, Task, task_of
from predictions.models import MAX_PREDICTIONS_OF_REFERENCE, Outcome, Prediction
from registry.access import rights
from registry.access.accessor import SYSTEM, Accessor
from registry.models import ModelVersion, Right
from registry.signatures.signature import ClassLabel, listed

# Nobody reads more than this.
MAX_FAULTS = 20
# Many references may each have many predictions; together they must fit into memory.
MAX_OUTCOME_ROWS = 100_000

PredictionIds: TypeAlias = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the report at `index` cannot be recorded."""

    index: int
    field: str
    message: str
    is_unknown: bool = False


class OutcomesRefused(ValueError):
    """Some reports cannot be recorded, so none was; `faults` holds the reasons.

    `errors` maps the path of each faulty field to its messages.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = faults[:MAX_FAULTS]
        self.errors: dict[str, list[str]] = defaultdict(list)
        for fault in self.faults:
            path = f"outcomes[{fault.index}]"
            self.errors[f"{path}.{fault.field}" if fault.field else path].append(fault.message)
        first = next(iter(self.errors))
        super().__init__(f"No outcome was recorded. {first}: {self.errors[first][0]}")


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """How many outcomes were written, and how many had been recorded before."""

    recorded: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class _Target:
    """What recording reads from a prediction; `primary_id` is set for a shadow's row."""

    model_id: int
    primary_id: int | None


@dataclass(frozen=True, slots=True)
class _Truth:
    """What an outcome of a version may be."""

    task: Task
    labels: Mapping[str, ClassLabel]


@dataclass(slots=True)
class _Drafts:
    rows: list[tuple[Report, Outcome]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def record_outcomes(reports: Sequence[Report], *, accessor: Accessor = SYSTEM) -> RecordedCounts:
    """Record outcomes in one transaction, with the same statements for any number of reports.

    A reference stands for every prediction that was answered under it and that the accessor may
    read. A report that repeats a recorded outcome with its time changes nothing; neither does a
    report without a time that equals the latest outcome. Raises OutcomesRefused, or
    PermissionDenied without the right to report outcomes of one of the models.
    """
    user_id = accessor.user.pk if accessor.user else None
    with transaction.atomic():
        ids_by_reference = _find_by_reference(reports, accessor)
        targets = _lock(reports, ids_by_reference, accessor)
        _require_right({target.model_id for target in targets.values()}, accessor)
        truths = _truths(target.model_id for target in targets.values())
        drafts = _draft(reports, ids_by_reference, targets, truths)
        if drafts.faults:
            raise OutcomesRefused(drafts.faults)
        new_rows = list(_without_recorded(drafts.rows, user_id))
        Outcome.objects.bulk_create(new_rows)
    return RecordedCounts(len(new_rows), len(drafts.rows) - len(new_rows))


def _find_by_reference(reports: Sequence[Report], accessor: Accessor) -> PredictionIds:
    """The IDs of the answered predictions of each reported reference; raises OutcomesRefused."""
    first_index: dict[str, int] = {}
    for index, report in enumerate(reports):
        if report.reference is not None:
            first_index.setdefault(report.reference, index)
    ids: dict[str, list[int]] = defaultdict(list)
    if not first_index:
        return ids
    rows = Prediction.objects.filter(reference__in=first_index, primary=None).order_by()
    rows = rows.readable_by(accessor)
    keys = rows.values_list("reference", "pk")[: MAX_OUTCOME_ROWS + 1]
    for number, (reference, pk) in enumerate(keys):
        assert reference is not None
        ids[reference].append(pk)
        if number == MAX_OUTCOME_ROWS:
            excess = f"all references together have more than {MAX_OUTCOME_ROWS}"
        elif len(ids[reference]) > MAX_PREDICTIONS_OF_REFERENCE:
            excess = f"this reference has more than {MAX_PREDICTIONS_OF_REFERENCE}"
        else:
            continue
        message = f"Matches too many predictions: {excess}."
        raise OutcomesRefused([Fault(first_index[reference], "reference", message)])
    return ids


def _lock(
    reports: Sequence[Report], ids_by_reference: PredictionIds, accessor: Accessor
) -> Mapping[int, _Target]:
    """The readable predictions that the reports refer to, by ID, locked until the end of the
    transaction.

    The locks keep the predictions from being deleted in the meantime, and two equal reports at the
    same time from both being recorded. They are taken in ID order, to avoid deadlocks.
    """
    ids = {report.prediction_id for report in reports if report.prediction_id is not None}
    ids.update(pk for keys in ids_by_reference.values() for pk in keys)
    rows = Prediction.objects.filter(pk__in=ids).readable_by(accessor)
    rows = rows.order_by("pk").select_for_update(no_key=True)
    return {
        row.pk: _Target(row.model_id, row.primary_id) for row in rows.only("model_id", "primary_id")
    }


def _require_right(model_ids: set[int], accessor: Accessor) -> None:
    if rights.holds_everywhere(accessor, Right.REPORT_OUTCOMES):
        return
    versions = ModelVersion.objects.filter(pk__in=model_ids)
    allowed = rights.with_right(versions, accessor, Right.REPORT_OUTCOMES).values("pk")
    refused = versions.exclude(pk__in=allowed).order_by("name").first()
    if refused is not None:
        raise PermissionDenied(f"You may not report outcomes of model {refused.name}.")


def _truths(model_ids: Iterable[int]) -> Mapping[int, _Truth | NoQuality]:
    truths: dict[int, _Truth | NoQuality] = {}
    rows = ModelVersion.objects.only("name", "version", "signature")
    for pk, version in rows.in_bulk(set(model_ids)).items():
        try:
            task = task_of(version)
            truths[pk] = _Truth(task, labels_by_spelling(task.classes))
        except NoQuality as error:
            truths[pk] = error
    return truths


def _draft(
    reports: Sequence[Report],
    ids_by_reference: PredictionIds,
    targets: Mapping[int, _Target],
    truths: Mapping[int, _Truth | NoQuality],
) -> _Drafts:
    """An unsaved row for each prediction of each report, and the faults of the invalid reports."""
    drafts = _Drafts()
    for index, report in enumerate(reports):
        for pk in ids_by_reference.get(report.reference or "", [report.prediction_id or 0]):
            outcome = _draft_one(report, index, pk, targets, truths)
            if isinstance(outcome, Fault):
                drafts.faults.append(outcome)
                break
            drafts.rows.append((report, outcome))
        if len(drafts.faults) == MAX_FAULTS:
            break
    return drafts


def _draft_one(
    report: Report,
    index: int,
    pk: int,
    targets: Mapping[int, _Target],
    truths: Mapping[int, _Truth | NoQuality],
) -> Outcome | Fault:
    target = targets.get(pk)
    if target is None:
        message = (
            f"Prediction {report.prediction_id} not found"
            if report.reference is None
            else f"No prediction has the reference {report.reference!r}"
        )
        return Fault(index, report.target_field, message, is_unknown=True)
    if target.primary_id is not None:
        message = (
            f"Prediction {pk} was made by a shadow. Report the outcome of its primary,"
            f" prediction {target.primary_id}; it counts for both."
        )
        return Fault(index, report.target_field, message)
    truth = truths[target.model_id]
    if isinstance(truth, NoQuality):
        return Fault(index, report.target_field, f"{truth}.")
    outcome = _outcome(report, truth, index)
    if isinstance(outcome, Outcome):
        outcome.prediction_id = pk
    return outcome


def _outcome(report: Report, truth: _Truth, index: int) -> Outcome | Fault:
    """The outcome as a row that lacks its prediction and times."""
    if not truth.task.is_classification:
        if report.value is None:
            message = "The model is a regressor: give the true value instead of a label."
            return Fault(index, "label", message)
        return Outcome(value=report.value)
    if report.label is None:
        message = "The model is a classifier: give the true label instead of a value."
        return Fault(index, "value", message)
    label = truth.labels.get(label_text(report.label))
    if label is None:
        message = f"Must be one of {listed([str(label) for label in truth.task.classes])}."
        return Fault(index, "label", message)
    return Outcome(label=label)


def _without_recorded(
    drafts: Sequence[tuple[Report, Outcome]], user_id: int | None
) -> Iterator[Outcome]:
    """The drafts that are not recorded yet, completed with their times and user."""
    now = timezone.now()
    known: set[tuple[int, float | str, datetime]] = set()
    latest: dict[int, float | str] = {}
    rows = Outcome.objects.filter(prediction__in={row.prediction_id for _, row in drafts})
    for row in rows.order_by("pk").iterator():
        known.add((row.prediction_id, _truth_key(row), row.observed_at))
        latest[row.prediction_id] = _truth_key(row)
    for report, row in drafts:
        pk, truth = row.prediction_id, _truth_key(row)
        if (pk, truth, report.observed_at) in known:
            continue
        if report.observed_at is None and pk in latest and latest[pk] == truth:
            continue
        row.created_at, row.user_id = now, user_id
        row.observed_at = report.observed_at or now
        known.add((pk, truth, row.observed_at))
        latest[pk] = truth
        yield row


def _truth_key(row: Outcome) -> float | str:
    return label_text(row.label) if row.value is None else row.value
