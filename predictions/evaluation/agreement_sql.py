"""The rule of `agreement`, applied in the database to the rows of a shadow and their primaries."""

from collections.abc import Sequence

from django.db.models import Count, F, Q, QuerySet, Value
from django.db.models.functions import Abs, Greatest

from predictions.evaluation.agreement import ROUNDING, labels_agree
from predictions.evaluation.quality.tasks import NoQuality, Task, class_at, task_of
from predictions.evaluation.statistics import can_be_squared
from predictions.models import Prediction
from registry.models import ModelVersion
from registry.signatures.signature import ClassLabel


def count_agreement(shadow_rows: QuerySet[Prediction], task: Task) -> tuple[int, int]:
    """How many shadow rows can be compared to their primary, and how many of these agree."""
    answered = shadow_rows.filter(prediction__isnull=False, primary__prediction__isnull=False)
    if task.is_classification:
        return _count_labels(answered, task)
    return _count_values(answered)


def _count_values(answered: QuerySet[Prediction]) -> tuple[int, int]:
    """`agreement.values_agree` with the default tolerance, in SQL."""
    distance = Abs(F("prediction") - F("primary__prediction"))
    scale = Greatest(Value(1.0), Abs("prediction"), Abs("primary__prediction"))
    counts = (
        answered.filter(can_be_squared("prediction"), can_be_squared("primary__prediction"))
        .annotate(distance=distance, tolerance=scale * ROUNDING)
        .aggregate(compared=Count("pk"), agreed=Count("pk", filter=Q(distance__lte=F("tolerance"))))
    )
    return counts["compared"], counts["agreed"]


def _count_labels(answered: QuerySet[Prediction], task: Task) -> tuple[int, int]:
    """`agreement.labels_agree`, once for each combination of classes that occurs."""
    groups = list(
        answered.values_list("prediction", "primary__prediction", "primary__model").annotate(
            rows=Count("pk")
        )
    )
    classes_by_version = _classes({model_id for _, _, model_id, _ in groups})
    compared = agreed = 0
    for index, primary_index, model_id, rows in groups:
        label = class_at(index, task.classes)
        primary_label = class_at(primary_index, classes_by_version[model_id])
        if label is not None and primary_label is not None:
            compared += rows
            agreed += rows * labels_agree(primary_label, label)
    return compared, agreed


def _classes(model_ids: set[int]) -> dict[int, Sequence[ClassLabel]]:
    classes: dict[int, Sequence[ClassLabel]] = {}
    for pk, version in ModelVersion.objects.in_bulk(model_ids).items():
        try:
            classes[pk] = task_of(version).classes
        except NoQuality:
            classes[pk] = ()
    return classes
