"""Predictions and what became of them, added up: in the database where it can do so, else streamed.

`tally` is what live quality, comparison and replays share. It takes a task (`task_of(version)`)
and rows as `pairs_of` finds them:

    live and shadow rows  pairs_of({"model": version, "created_at__gte": since})
    one arm alone         pairs_of({"model": version, "alias": "champion", "arm": "shadow"})
    what a replay asked   pairs_of({"replayed__replay": replay})
    what it answered      pairs_of({"replay": replay}, row="replayed")

The conditions are those of a queryset of Prediction, or of the table that `row` leads to from
there: one with columns `prediction`, `confidence` and `output` as Prediction has them. Of each row
counts the outcome recorded last; of a shadow's row, that of its primary. Rows without an outcome
are no pairs. The answer is `(total, by_bucket)`: a ClassifierTally or RegressorTally of all rows,
and one for each start of a bucket.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, TypeAlias

import numpy as np
from django.db.models import (
    Avg,
    Count,
    DateTimeField,
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

from predictions.evaluation.quality.scores import CALIBRATION_BINS, ClassifierTally, RegressorTally
from predictions.evaluation.quality.tasks import Task, label_text
from predictions.models import MAX_OUTCOME_VALUE, Outcome

Bucket: TypeAlias = Literal["hour", "day", "week", "month"]
Tally: TypeAlias = ClassifierTally | RegressorTally

STREAMED_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Pairs:
    """Outcomes that count, joined to the rows they judge; `row` and `made` are ORM paths from
    Outcome to such a row and to the prediction it belongs to.
    """

    outcomes: QuerySet[Outcome]
    row: str
    made: str

    def by(self, bucket: Bucket | None) -> QuerySet[Outcome]:
        """The outcomes, with the `start` of their prediction's bucket."""
        return self.outcomes.annotate(start=start_of(bucket, f"{self.made}__created_at"))


def pairs_of(conditions: Mapping[str, Any], *, row: str = "") -> list[Pairs]:
    """The rows that have these conditions and an outcome: see the module's own words."""
    # Two joins by one index each, where one by COALESCE(primary_id, id) would have none.
    return [
        _joined(conditions, made=made, row="__".join(filter(None, (made, row))))
        for made in ("prediction", "prediction__shadows")
    ]


def _joined(conditions: Mapping[str, Any], *, made: str, row: str) -> Pairs:
    where = {f"{row}__{name}": value for name, value in conditions.items()}
    # One call of filter(): another one would join the shadows once more. An answer that is none,
    # of a failed prediction, is judged by nobody but counted.
    return Pairs(Outcome.objects.counting().filter(**where).order_by(), row, made)


def start_of(bucket: Bucket | None, path: str) -> Any:
    """The start of the bucket, in UTC, in which a time lies; without buckets all have one."""
    # A constant would be grouped by, which PostgreSQL takes for a column's number.
    return Trunc(path, bucket, tzinfo=UTC) if bucket else Cast(Value(None), DateTimeField())


def tally(
    task: Task, pairs: Sequence[Pairs], bucket: Bucket | None = None
) -> tuple[Tally, dict[datetime, Tally]]:
    """All figures of the pairs, together and by bucket: see the module's own words.

    One or two passes over the pairs in the database, and one that streams the probabilities.
    """
    if task.is_classification:
        return _tally_classes(task, pairs, bucket)
    return _tally_values(pairs, bucket)


# -- classifiers -----------------------------------------------------------------------------------


def _tally_classes(
    task: Task, pairs: Sequence[Pairs], bucket: Bucket | None
) -> tuple[ClassifierTally, dict[datetime, Tally]]:
    total = ClassifierTally(task.classes)
    parts: dict[datetime, Any] = {}
    indices = {label_text(label): index for index, label in enumerate(task.classes)}

    def told(start: datetime | None) -> list[ClassifierTally]:
        if start is None:
            return [total]
        return [total, parts.setdefault(start, ClassifierTally(task.classes))]

    for part in pairs:
        for start, predicted, actual, tenth, rows, confidence in _confusion(part, bucket):
            for one in told(start):
                one.count(
                    index_of_class(predicted, len(indices)),
                    indices.get(actual),
                    rows,
                    tenth=None if tenth is None else int(tenth),
                    confidence=confidence or 0.0,
                )
        if task.has_probabilities:
            for start, probabilities, classes in _probabilities(part, bucket, indices, task):
                for one in told(start):
                    one.weigh(probabilities, classes)
    return total, parts


def _confusion(pairs: Pairs, bucket: Bucket | None) -> Iterator[tuple[Any, ...]]:
    """Start, predicted class, true label, tenth of confidence; how many rows, their confidence."""
    confidence = F(f"{pairs.row}__confidence")
    return (
        pairs.by(bucket)
        .annotate(
            predicted=F(f"{pairs.row}__prediction"),
            actual=Cast("label", TextField()),
            tenth=Floor(confidence * float(CALIBRATION_BINS), output_field=FloatField()),
        )
        .values("start", "predicted", "actual", "tenth")
        .annotate(rows=Count("pk"), confidence=Sum(confidence))
        .values_list("start", "predicted", "actual", "tenth", "rows", "confidence")
        .iterator(STREAMED_ROWS)
    )


def _probabilities(
    pairs: Pairs, bucket: Bucket | None, indices: Mapping[str, int], task: Task
) -> Iterator[tuple[datetime | None, np.ndarray, np.ndarray]]:
    """By start: probabilities of shape (n, classes), and the true classes; a few rows at a time."""
    rows = (
        pairs.by(bucket)
        .annotate(actual=Cast("label", TextField()))
        .values_list("start", "actual", f"{pairs.row}__prediction", f"{pairs.row}__output")
        .iterator(STREAMED_ROWS)
    )
    names = [str(label) for label in task.classes]
    while chunk := list(islice(rows, STREAMED_ROWS)):
        by_start: dict[datetime | None, tuple[list[list[float]], list[int]]] = {}
        for start, actual, predicted, output in chunk:
            place, row = indices.get(actual), _row(output, names)
            if place is None or row is None or index_of_class(predicted, len(names)) is None:
                continue
            probabilities, classes = by_start.setdefault(start, ([], []))
            probabilities.append(row)
            classes.append(place)
        for start, (probabilities, classes) in by_start.items():
            yield start, np.array(probabilities, np.float64), np.array(classes)


def _row(output: Any, names: Sequence[str]) -> list[float] | None:
    """The probabilities in an output, in the order of the classes; None where it has not all."""
    told = output.get("probabilities") if isinstance(output, dict) else None
    if not isinstance(told, dict):
        return None
    row = [told.get(name) for name in names]
    return row if all(isinstance(value, float | int) for value in row) else None  # type: ignore[return-value]


def index_of_class(predicted: float | None, classes: int) -> int | None:
    """A recorded class index as one; what was recorded elsewhere may be none."""
    is_one = predicted is not None and predicted.is_integer() and 0 <= predicted < classes
    return int(predicted or 0) if is_one else None


# -- regressors ------------------------------------------------------------------------------------


def _tally_values(
    pairs: Sequence[Pairs], bucket: Bucket | None
) -> tuple[RegressorTally, dict[datetime, Tally]]:
    means = [part.outcomes.aggregate(mean=Avg("value"))["mean"] for part in pairs]
    origin = next((mean for mean in means if mean is not None), 0.0)
    total = RegressorTally(origin)
    parts: dict[datetime, Any] = {}
    for part in pairs:
        for sums in _sums(part, bucket, origin):
            start = sums.pop("start")
            total.add(**sums)
            if start is not None:
                parts.setdefault(start, RegressorTally(origin)).add(**sums)
    return total, parts


def _sums(pairs: Pairs, bucket: Bucket | None, origin: float) -> Iterator[Any]:
    """By start, the sums of RegressorTally under their names."""
    predicted = f"{pairs.row}__prediction"
    error, distance = F("error"), F("distance")
    # Larger ones can not be squared; a null is in no range.
    scored = Q(
        **{f"{predicted}__range": (-MAX_OUTCOME_VALUE, MAX_OUTCOME_VALUE)}, value__isnull=False
    )
    return (
        pairs.by(bucket)
        .annotate(error=F(predicted) - F("value"), distance=F("value") - origin)
        .values("start")
        .annotate(
            with_outcome=Count("pk"),
            scored=Count("pk", filter=scored),
            errors=Sum(error, filter=scored),
            absolutes=Sum(Abs(error), filter=scored),
            squares=Sum(error * error, filter=scored),
            fourths=Sum(error * error * error * error, filter=scored),
            distances=Sum(distance, filter=scored),
            squared_distances=Sum(distance * distance, filter=scored),
            least=Min("value", filter=scored),
            most=Max("value", filter=scored),
        )
        .iterator(STREAMED_ROWS)
    )
