"""The table of predictions: what was answered, to whom, by which version."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, ProtectedError, Q
from django.utils import timezone

from registry.exact_json.fields import AnnotationField, ExactJSONField
from registry.models import ModelVersion

# The stock PROTECT loads every row that stands in the way; a few are enough to say which.
MAX_PROTECTED_SHOWN = 20
MAX_ERROR_LENGTH = 2000
# Of what a caller names its rows by: `reference` and `subject`.
MAX_CALLERS_NAME_LENGTH = 200


class PredictionNotFound(LookupError):
    """There is no such prediction; the message is for the caller."""


def protect_by_sample(
    collector: Any, field: "models.Field[Any, Any]", sub_objs: Any, using: str
) -> None:
    """An `on_delete` like PROTECT that reads a handful of the referring rows, not millions."""
    # The admin hands over a queryset that would join what is not wanted.
    sample = list(sub_objs.select_related(None).only("pk")[:MAX_PROTECTED_SHOWN])
    if sample:
        raise ProtectedError(f"Predictions refer to this row by {field.name}.", set(sample))


# Django then hands over an unread queryset (`Collector.collect`).
protect_by_sample.lazy_sub_objs = True  # type: ignore[attr-defined]


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(
        self,
        *,
        model_id: int | None = None,
        status: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        reference: str | None = None,
    ) -> Self:
        """The rows that the filters of the list endpoint leave; both times are exclusive."""
        wanted: dict[str, Any] = {
            "model_id": model_id,
            "status": status,
            "created_at__gt": created_after,
            "created_at__lt": created_before,
            "reference": reference,
        }
        return self.filter(**{key: value for key, value in wanted.items() if value is not None})

    def listed(self) -> Self:
        """Rows as a list shows them: with their version's name, without their input."""
        return self.select_related("model").only(
            *(field for field in LISTED_FIELDS), "model__name", "model__version"
        )

    def find(self, prediction_id: int) -> "Prediction":
        """The prediction with this id, with its version and user; raises PredictionNotFound."""
        row = self.select_related("model", "user").filter(pk=prediction_id).first()
        if row is None:
            raise PredictionNotFound(f"Prediction {prediction_id} not found")
        return row


class Prediction(models.Model):
    """One input that a version was asked to score, and what came of it."""

    class Status(models.TextChoices):
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    class Arm(models.TextChoices):
        """Which of an alias's versions scored this input."""

        PRIMARY = "primary"
        CANARY = "canary"
        SHADOW = "shadow"

    model = models.ForeignKey(
        ModelVersion, on_delete=protect_by_sample, related_name="predictions", db_index=False
    )
    input_data = ExactJSONField()
    prediction = models.FloatField(
        null=True, help_text="The value of a regressor, the class index of a classifier."
    )
    confidence = models.FloatField(null=True, help_text="The answered class's probability.")
    output = ExactJSONField(
        null=True, help_text="Label and probabilities by class, or all outputs by name."
    )
    metadata = AnnotationField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.SUCCEEDED)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    latency_ms = models.FloatField(null=True, help_text="Time in the model, in milliseconds.")
    request_id = models.CharField(max_length=100, blank=True, default="")
    # No index: only the rare deletion of a user looks predictions up by user.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=protect_by_sample,
        null=True,
        related_name="+",
        db_index=False,
    )
    created_at = models.DateTimeField(default=timezone.now)
    # Null means that it was not given or does not apply: such a column costs a row nothing.
    reference = models.CharField(  # noqa: DJ001
        max_length=MAX_CALLERS_NAME_LENGTH,
        null=True,
        help_text="The caller's own name of it, by which outcomes find it.",
    )
    subject = models.CharField(  # noqa: DJ001
        max_length=MAX_CALLERS_NAME_LENGTH,
        null=True,
        help_text="Whom it is about: a subject stays on one arm of a canary.",
    )
    alias = models.CharField(  # noqa: DJ001
        max_length=50,
        null=True,
        help_text="The alias that was asked; null where a version was.",
    )
    arm = models.CharField(max_length=10, choices=Arm, null=True)  # noqa: DJ001
    primary = models.ForeignKey(
        "self",
        on_delete=models.CASCADE,
        null=True,
        related_name="shadows",
        db_index=False,
        help_text="Of a shadow's row, the answered prediction.",
    )

    objects = PredictionQuerySet.as_manager()

    class Meta:
        db_table = "predictions"
        constraints = [
            models.CheckConstraint(
                condition=Q(status="succeeded", error="") | Q(status="failed") & ~Q(error=""),
                name="prediction_failed_has_error",
            ),
            models.CheckConstraint(
                condition=Q(alias=None, arm=None) | Q(alias__isnull=False, arm__isnull=False),
                name="prediction_alias_has_arm",
            ),
            models.CheckConstraint(
                # A check whose outcome is NULL passes: no arm must decide by itself.
                condition=Q(primary=None) & (Q(arm=None) | Q(arm__in=["primary", "canary"]))
                | Q(primary__isnull=False, arm__isnull=False, arm="shadow"),
                name="prediction_shadow_has_primary",
            ),
        ]
        indexes = [
            # GET /predictions/, and with created_after or created_before.
            models.Index(F("created_at").desc(), F("id").desc(), name="prediction_newest"),
            # GET /predictions/?model_id=, /models/{id}/predictions/, and the foreign key's check.
            models.Index(
                "model", F("created_at").desc(), F("id").desc(), name="prediction_newest_of_model"
            ),
            # GET /predictions/?status=failed: rare rows, found without passing the others.
            models.Index(
                "model",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(status="failed"),
                name="prediction_failed_of_model",
            ),
            models.Index(
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(status="failed"),
                name="prediction_failed_newest",
            ),
            # Outcomes by reference, and GET /predictions/?reference=.
            models.Index(
                "reference",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(reference__isnull=False),
                name="prediction_of_reference",
            ),
            # A prediction's shadows: the foreign key's check, comparison and retention.
            models.Index(
                "primary", condition=Q(primary__isnull=False), name="prediction_shadows_of"
            ),
        ]

    def __str__(self) -> str:
        return f"Prediction {self.pk}"


LISTED_FIELDS: Sequence[str] = [
    "id",
    "model_id",
    "prediction",
    "confidence",
    "output",
    "metadata",
    "status",
    "latency_ms",
    "request_id",
    "reference",
    "subject",
    "alias",
    "arm",
    "primary_id",
    "created_at",
]
