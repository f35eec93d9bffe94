"""Predictions with their outcomes, tallied in the database where possible and otherwise streamed.

`tally` is shared by live quality, comparison and replays. It takes a task (`task_of(version)`) and
the rows that `labelled_predictions` finds:

    live and shadow rows      labelled_predictions({"model": version, "created_at__gte": since})
    rows of one arm           labelled_predictions({"alias": "a", "arm": "shadow"})
    recorded rows of a replay labelled_predictions({"replayed__replay": replay})
    new answers of a replay   labelled_predictions({"replay": replay}, path="replayed")

The conditions are filters of Prediction, or of the table to which `path` leads from Prediction,
which needs columns `prediction`, `confidence` and `output` like Prediction's. If a prediction has
several outcomes, the one recorded last counts. A shadow's row is judged by the outcome of its
primary. Rows without an outcome are left out. The result is `(total, by_bucket)`: a ClassifierTally
or RegressorTally of all rows, and one for the start of each bucket.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from django.db.models import (
    Avg,
    Count,
    DateTimeField,
    Expression,
    F,
    FloatField,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    TextField,
    Value,
)
from django.db.models.functions import Abs, Cast, Floor, Trunc
from numpy.typing import NDArray

from predictions.evaluation.labels import label_text
from predictions.evaluation.quality.scores import CALIBRATION_BINS, ClassifierTally, RegressorTally
from predictions.evaluation.quality.tasks import Task, class_index
from predictions.evaluation.statistics import can_be_squared
from predictions.models import Outcome
from registry.exact_json.values import JSONObject

Bucket: TypeAlias = Literal["hour", "day", "week", "month"]
Tally: TypeAlias = ClassifierTally | RegressorTally

STREAMED_ROWS = 2000


@dataclass(frozen=True, slots=True)
class LabelledPredictions:
    """The latest outcomes, joined to the answers that they judge.

    `answer` and `prediction` are ORM paths from Outcome to the answer and to its prediction. They
    differ for the results of a replay.
    """

    outcomes: QuerySet[Outcome]
    answer: str
    prediction: str

    def with_start(self, bucket: Bucket | None) -> QuerySet[Outcome]:
        """The outcomes, annotated with the `start` of the bucket of their prediction."""
        return self.outcomes.annotate(start=bucket_start(bucket, f"{self.prediction}__created_at"))


def labelled_predictions(
    conditions: Mapping[str, object], *, path: str = ""
) -> list[LabelledPredictions]:
    """The rows that match the conditions and have an outcome: see the module's docstring."""
    # Answered rows and shadow rows are two queries, each with an index. A single join by
    # COALESCE(primary_id, id) could use none.
    return [
        _join(conditions, prediction=prediction, answer="__".join(filter(None, (prediction, path))))
        for prediction in ("prediction", "prediction__shadows")
    ]


def _join(conditions: Mapping[str, object], *, prediction: str, answer: str) -> LabelledPredictions:
    filters = {f"{answer}__{name}": value for name, value in conditions.items()}
    # A single filter() call: a second one would join the shadows again. Failed predictions stay in;
    # they count as having an outcome but are not scored.
    rows = Outcome.objects.latest_per_prediction().filter(**filters).order_by()
    return LabelledPredictions(rows, answer, prediction)


def bucket_start(bucket: Bucket | None, path: str) -> Expression:
    """The start of the bucket, in UTC, that holds a time; NULL without buckets."""
    # NULL is cast, because PostgreSQL would take a bare constant in GROUP BY for a column number.
    return Trunc(path, bucket, tzinfo=UTC) if bucket else Cast(Value(None), DateTimeField())


def tally(
    task: Task, parts: Sequence[LabelledPredictions], bucket: Bucket | None = None
) -> tuple[Tally, Mapping[datetime, Tally]]:
    """All figures of the rows, in total and by bucket: see the module's docstring.

    Takes one or two passes over the rows in the database, and one that streams the probabilities.
    """
    if task.is_classification:
        return _tally_classes(task, parts, bucket)
    return _tally_values(parts, bucket)


# -- classifiers -----------------------------------------------------------------------------------


class _ConfusionCell(NamedTuple):
    """Rows with the same predicted class, outcome and bin of confidence."""

    start: datetime | None
    predicted: float | None
    actual: str
    confidence_bin: float | None
    rows: int
    confidence: float | None


def _tally_classes(
    task: Task, parts: Sequence[LabelledPredictions], bucket: Bucket | None
) -> tuple[ClassifierTally, dict[datetime, ClassifierTally]]:
    total = ClassifierTally(task.classes)
    by_start: dict[datetime, ClassifierTally] = {}
    indices = {label_text(label): index for index, label in enumerate(task.classes)}

    def tallies(start: datetime | None) -> list[ClassifierTally]:
        if start is None:
            return [total]
        return [total, by_start.setdefault(start, ClassifierTally(task.classes))]

    for part in parts:
        for cell in _confusion(part, bucket):
            for affected in tallies(cell.start):
                affected.add_rows(
                    class_index(cell.predicted, len(indices)),
                    indices.get(cell.actual),
                    cell.rows,
                    confidence_bin=_whole(cell.confidence_bin),
                    confidence=cell.confidence or 0.0,
                )
        if task.has_probabilities:
            for start, probabilities, actual in _probabilities(part, bucket, indices, task):
                for affected in tallies(start):
                    affected.add_probabilities(probabilities, actual)
    return total, by_start


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _confusion(part: LabelledPredictions, bucket: Bucket | None) -> Iterator[_ConfusionCell]:
    confidence = F(f"{part.answer}__confidence")
    cells = (
        part.with_start(bucket)
        .annotate(
            predicted=F(f"{part.answer}__prediction"),
            actual=Cast("label", TextField()),
            confidence_bin=Floor(confidence * float(CALIBRATION_BINS), output_field=FloatField()),
        )
        .values("start", "predicted", "actual", "confidence_bin")
        .annotate(rows=Count("pk"), confidence=Sum(confidence))
        .values_list(*_ConfusionCell._fields)
    )
    return (_ConfusionCell(*cell) for cell in cells.iterator(STREAMED_ROWS))


def _probabilities(
    part: LabelledPredictions, bucket: Bucket | None, indices: Mapping[str, int], task: Task
) -> Iterator[tuple[datetime | None, NDArray[np.float64], NDArray[np.int64]]]:
    """Bucket starts, probabilities of shape (n, classes), and true classes, some rows at a time."""
    rows = (
        part.with_start(bucket)
        .annotate(actual=Cast("label", TextField()))
        .values_list("start", "actual", f"{part.answer}__prediction", f"{part.answer}__output")
        .iterator(STREAMED_ROWS)
    )
    names = [str(label) for label in task.classes]
    while chunk := list(islice(rows, STREAMED_ROWS)):
        by_start: dict[datetime | None, tuple[list[list[float]], list[int]]] = {}
        for start, actual, predicted, output in chunk:
            index, row = indices.get(actual), _probability_row(output, names)
            if index is None or row is None or class_index(predicted, len(names)) is None:
                continue
            probabilities, classes = by_start.setdefault(start, ([], []))
            probabilities.append(row)
            classes.append(index)
        for start, (probabilities, classes) in by_start.items():
            yield start, np.array(probabilities, np.float64), np.array(classes, np.int64)


def _probability_row(output: object, names: Sequence[str]) -> list[float] | None:
    """The probabilities of an output in the order of the classes; None if one is missing."""
    by_class = output.get("probabilities") if isinstance(output, dict) else None
    if not isinstance(by_class, dict):
        return None
    row = [value for name in names if isinstance(value := by_class.get(name), float | int)]
    return row if len(row) == len(names) else None


# -- regressors ------------------------------------------------------------------------------------


def _tally_values(
    parts: Sequence[LabelledPredictions], bucket: Bucket | None
) -> tuple[RegressorTally, dict[datetime, RegressorTally]]:
    means = [part.outcomes.aggregate(mean=Avg("value"))["mean"] for part in parts]
    origin = next((mean for mean in means if mean is not None), 0.0)
    total = RegressorTally(origin)
    by_start: dict[datetime, RegressorTally] = {}
    for part in parts:
        for sums in _sums(part, bucket, origin):
            start = sums.pop("start")
            total.add(**sums)
            if start is not None:
                by_start.setdefault(start, RegressorTally(origin)).add(**sums)
    return total, by_start


def _sums(part: LabelledPredictions, bucket: Bucket | None, origin: float) -> Iterator[JSONObject]:
    """For each bucket, its `start` and the sums by the names of RegressorTally."""
    predicted = f"{part.answer}__prediction"
    error, distance = F("error"), F("distance")
    scored = can_be_squared(predicted) & Q(value__isnull=False)
    sums = (
        part.with_start(bucket)
        .annotate(error=F(predicted) - F("value"), distance=F("value") - origin)
        .values("start")
        .annotate(
            with_outcome=Count("pk"),
            scored=Count("pk", filter=scored),
            errors=Sum(error, filter=scored),
            absolute_errors=Sum(Abs(error), filter=scored),
            squared_errors=Sum(error * error, filter=scored),
            fourth_powers=Sum(error * error * error * error, filter=scored),
            distances=Sum(distance, filter=scored),
            squared_distances=Sum(distance * distance, filter=scored),
            minimum=Min("value", filter=scored),
            maximum=Max("value", filter=scored),
        )
    )
    return (dict(row) for row in sums.iterator(STREAMED_ROWS))
