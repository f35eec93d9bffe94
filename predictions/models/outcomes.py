"""The table of outcomes: the ground truth of predictions."""

from collections.abc import Sequence
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from predictions.models.predictions import Prediction
from predictions.models.protection import protect_by_sample
from predictions.models.readable import readable
from registry.access.accessor import Accessor
from registry.exact_json.fields import ExactJSONField

# The figures contain fourth powers of errors; larger values would overflow a float.
MAX_OUTCOME_VALUE = 1e70
# A reference stands for one case of the caller's. More predictions mean a mistake.
MAX_PREDICTIONS_OF_REFERENCE = 1000


class OutcomeQuerySet(models.QuerySet["Outcome"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(self, *, prediction_id: int | None = None, reference: str | None = None) -> Self:
        """The rows that match the filters of the list endpoint."""
        rows = self if prediction_id is None else self.filter(prediction=prediction_id)
        if reference is None:
            return rows
        # Read first: with a join, PostgreSQL may scan all outcomes by time to find these few.
        answered = Prediction.objects.filter(reference=reference, primary=None).newest_first()
        keys = answered.values_list("pk", flat=True)[:MAX_PREDICTIONS_OF_REFERENCE]
        return rows.filter(prediction__in=list(keys))

    def readable_by(self, accessor: Accessor) -> Self:
        """The outcomes of the predictions that the accessor may read."""
        return self.filter(readable(accessor, "prediction__"))

    def listed(self) -> Self:
        """The columns of a list: with the reference of the prediction, its user and its model."""
        of_prediction = ("reference", "user", "model__name", "model__version")
        return self.select_related("prediction__model").only(
            *OUTCOME_FIELDS, *(f"prediction__{name}" for name in of_prediction)
        )

    def latest_per_prediction(self) -> Self:
        """The outcome recorded last for each prediction; it corrects the earlier ones."""
        later = Outcome.objects.filter(prediction=OuterRef("prediction"), id__gt=OuterRef("id"))
        return self.filter(~Exists(later))


class Outcome(models.Model):
    """The ground truth of one prediction. A correction is another row."""

    # Cascades: retention deletes predictions by the thousand.
    prediction = models.ForeignKey(
        Prediction, on_delete=models.CASCADE, related_name="outcomes", db_index=False
    )
    value = models.FloatField(null=True, help_text="The true value, for a regressor.")
    label = ExactJSONField(null=True, help_text="The true class, for a classifier.")
    observed_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    # No index: only the deletion of a user, which is rare, looks outcomes up by user.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=protect_by_sample,
        null=True,
        related_name="+",
        db_index=False,
    )

    objects = OutcomeQuerySet.as_manager()

    class Meta:
        db_table = "outcomes"
        constraints = [
            models.CheckConstraint(
                condition=Q(value=None, label__isnull=False)
                | Q(value__isnull=False, label__isnull=True),
                name="outcome_value_or_label",
            ),
            models.CheckConstraint(
                # Also excludes NaN, which PostgreSQL sorts above all numbers.
                condition=Q(value=None)
                | Q(value__gte=-MAX_OUTCOME_VALUE, value__lte=MAX_OUTCOME_VALUE),
                name="outcome_value_can_be_squared",
            ),
        ]
        indexes = [
            # The latest outcome of a prediction, GET /outcomes/?prediction_id=, and the foreign key
            # check when predictions are deleted.
            models.Index("prediction", F("id").desc(), name="outcome_latest_of_prediction"),
            # GET /outcomes/, newest first, by key.
            models.Index(F("created_at").desc(), F("id").desc(), name="outcome_newest"),
        ]

    def __str__(self) -> str:
        return f"Outcome {self.pk}"


def attach_outcomes(rows: Sequence[Prediction]) -> None:
    """Set the `latest_outcome` of these predictions, in one query.

    Outcomes are recorded for answered predictions; a shadow's row has that of its primary.
    """
    keys = {row.primary_id or row.pk for row in rows}
    latest = Outcome.objects.filter(prediction__in=keys).latest_per_prediction()
    by_prediction = {outcome.prediction_id: outcome for outcome in latest}
    for row in rows:
        row.latest_outcome = by_prediction.get(row.primary_id or row.pk)


OUTCOME_FIELDS: Sequence[str] = [
    "id",
    "prediction_id",
    "value",
    "label",
    "observed_at",
    "created_at",
]
