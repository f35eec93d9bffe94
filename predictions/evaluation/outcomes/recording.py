"""Outcomes in, committed rows out: all that were reported together, or none of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from predictions.evaluation.outcomes.reports import Report
from predictions.evaluation.quality.tasks import (
    NoQuality,
    Task,
    label_text,
    labels_by_form,
    task_of,
)
from predictions.models import MAX_PREDICTIONS_OF_REFERENCE, Outcome, Prediction
from registry.models import ModelVersion
from registry.signatures.signature import ClassLabel, listed

# Of reports that can not be recorded, as many as someone reads.
MAX_FAULTS = 20
# References may be of many predictions each; together they must fit into memory.
MAX_OUTCOME_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one of the reports can not be recorded."""

    index: int
    field: str
    message: str
    is_unknown: bool = False


class OutcomesRefused(ValueError):
    """Some reports can not be recorded, so none was; `faults` says which and why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = faults[:MAX_FAULTS]
        self.errors: dict[str, list[str]] = defaultdict(list)
        for fault in self.faults:
            place = f"outcomes[{fault.index}]"
            self.errors[f"{place}.{fault.field}" if fault.field else place].append(fault.message)
        first = next(iter(self.errors))
        super().__init__(f"No outcome was recorded. {first}: {self.errors[first][0]}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many outcomes were written, and how many were there already."""

    recorded: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """A version's kind of answer, and how its classes may be written."""

    task: Task
    labels: Mapping[str, ClassLabel]


def record_outcomes(reports: Sequence[Report], *, user_id: int | None = None) -> Recorded:
    """Record what was true, in one transaction and five statements however many reports there are.

    A reference means every prediction that was answered under it. A report that is there already,
    with its time, or without a time equal to the outcome that counts, is left as it is. Raises
    OutcomesRefused.
    """
    with transaction.atomic():
        by_reference = _by_reference(reports)
        predictions = _locked(reports, by_reference)
        answers = _answers(model_id for model_id, _ in predictions.values())
        drafts, faults = _drafts(reports, by_reference, predictions, answers)
        if faults:
            raise OutcomesRefused(faults)
        fresh = list(_fresh(drafts, user_id))
        Outcome.objects.bulk_create(fresh)
    return Recorded(len(fresh), len(drafts) - len(fresh))


def _by_reference(reports: Sequence[Report]) -> Mapping[str, list[int]]:
    """The answered predictions of each reference that is reported; raises OutcomesRefused."""
    first = {
        report.reference: index
        for index, report in reversed(list(enumerate(reports)))
        if report.reference is not None
    }
    found: dict[str, list[int]] = defaultdict(list)
    if not first:
        return found
    rows = Prediction.objects.filter(reference__in=first, primary=None).order_by()
    keys: Any = rows.values_list("reference", "pk")[: MAX_OUTCOME_ROWS + 1]
    for number, (reference, pk) in enumerate(keys):
        found[reference].append(pk)
        limit = "of one reference, more than", MAX_PREDICTIONS_OF_REFERENCE
        if number == MAX_OUTCOME_ROWS:
            limit = "of all references together, more than", MAX_OUTCOME_ROWS
        elif len(found[reference]) <= MAX_PREDICTIONS_OF_REFERENCE:
            continue
        message = f"Means too many predictions: {limit[0]} {limit[1]}."
        raise OutcomesRefused([Fault(first[reference], "reference", message)])
    return found


def _locked(
    reports: Sequence[Report], by_reference: Mapping[str, list[int]]
) -> Mapping[int, tuple[int, int | None]]:
    """The predictions that are meant: by id, their version and, of a shadow's row, its primary.

    Held to the end of the transaction: none is deleted meanwhile, and what is reported twice at
    once is recorded once. In the order of their ids, so that two never wait for each other.
    """
    wanted = {report.prediction_id for report in reports if report.prediction_id is not None}
    wanted.update(pk for keys in by_reference.values() for pk in keys)
    rows = Prediction.objects.filter(pk__in=wanted).order_by("pk").select_for_update(no_key=True)
    return {row.pk: (row.model_id, row.primary_id) for row in rows.only("model_id", "primary_id")}


def _answers(model_ids: Iterator[int]) -> Mapping[int, _Answer | NoQuality]:
    answers: dict[int, _Answer | NoQuality] = {}
    rows = ModelVersion.objects.only("name", "version", "signature")
    for pk, version in rows.in_bulk(set(model_ids)).items():
        try:
            task = task_of(version)
            answers[pk] = _Answer(task, labels_by_form(task.classes))
        except NoQuality as error:
            answers[pk] = error
    return answers


def _drafts(
    reports: Sequence[Report],
    by_reference: Mapping[str, list[int]],
    predictions: Mapping[int, tuple[int, int | None]],
    answers: Mapping[int, _Answer | NoQuality],
) -> tuple[list[tuple[Report, Outcome]], list[Fault]]:
    """A row for each prediction that a report means, and what is wrong with the others."""
    drafts: list[tuple[Report, Outcome]] = []
    faults: list[Fault] = []
    for index, report in enumerate(reports):
        keys = by_reference.get(report.reference or "", [report.prediction_id or 0])
        for pk in keys:
            fault = _fault(report, index, pk, predictions)
            if fault is None:
                answer = answers[predictions[pk][0]]
                outcome = _judged(report, answer)
                if isinstance(outcome, Outcome):
                    outcome.prediction_id = pk
                    drafts.append((report, outcome))
                    continue
                fault = Fault(index, *outcome)
            faults.append(fault)
            break
        if len(faults) == MAX_FAULTS:
            break
    return drafts, faults


def _fault(
    report: Report, index: int, pk: int, predictions: Mapping[int, tuple[int, int | None]]
) -> Fault | None:
    if pk not in predictions:
        named = report.reference if report.prediction_id is None else report.prediction_id
        message = (
            f"Prediction {named} not found"
            if report.reference is None
            else f"No prediction has the reference {named!r}"
        )
        return Fault(index, report.named_by, message, is_unknown=True)
    primary = predictions[pk][1]
    if primary is not None:
        message = f"Prediction {pk} is a shadow's: give the outcome of {primary}, which it shares."
        return Fault(index, report.named_by, message)
    return None


def _judged(report: Report, answer: _Answer | NoQuality) -> Outcome | tuple[str, str]:
    """The outcome as a row without its prediction; or a field, and why it is none."""
    if isinstance(answer, NoQuality):
        return report.named_by, f"{answer}."
    if not answer.task.is_classification:
        if report.value is None:
            return "label", "Is a classifier's; a regressor's outcome is its value."
        return Outcome(value=report.value)
    if report.label is None:
        return "value", "Is a regressor's; a classifier's outcome is its label."
    label = answer.labels.get(label_text(report.label))
    if label is None:
        return "label", f"Must be one of {listed([str(one) for one in answer.task.classes])}."
    return Outcome(label=label)


def _fresh(drafts: Sequence[tuple[Report, Outcome]], user_id: int | None) -> Iterator[Outcome]:
    """Those drafts that are not recorded yet, with their times and user."""
    now = timezone.now()
    known: set[tuple[Any, ...]] = set()
    latest: dict[int, Any] = {}
    rows = Outcome.objects.filter(prediction__in={row.prediction_id for _, row in drafts})
    for row in rows.order_by("pk").iterator():
        known.add((row.prediction_id, _said(row), row.observed_at))
        latest[row.prediction_id] = _said(row)
    for report, row in drafts:
        said, pk = _said(row), row.prediction_id
        if (pk, said, report.observed_at) in known:
            continue
        if report.observed_at is None and pk in latest and latest[pk] == said:
            continue
        row.created_at, row.user_id = now, user_id
        row.observed_at = report.observed_at or now
        known.add((pk, said, row.observed_at))
        latest[pk] = said
        yield row


def _said(row: Outcome) -> float | str:
    return label_text(row.label) if row.value is None else row.value
