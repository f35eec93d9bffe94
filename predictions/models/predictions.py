"""The prediction log: every input that was scored, with the answer or the failure."""

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.commit_order import CurrentTransaction, Horizon
from predictions.models.protection import protect_by_sample as protect_by_sample
from predictions.models.readable import readable, readable_versions
from predictions.models.references import StaleHour
from predictions.models.searching import (
    LISTED_FIELDS,
    LOOKUPS,
    PredictionFilters,
    Runs,
    newest_keys,
    runs_of,
    user_id_of,
    versions_of,
)
from registry.access import rights
from registry.access.accessor import SYSTEM, Accessor
from registry.exact_json.fields import AnnotationField, ExactJSONField
from registry.models import ApiKey, ModelVersion, Right

if TYPE_CHECKING:
    from predictions.models.outcomes import Outcome

MAX_ERROR_LENGTH = 2000
# Of `reference` and `subject`, which the caller chooses.
MAX_CALLERS_NAME_LENGTH = 200


class Unknown(Enum):
    """The type of UNKNOWN, since None already means "no outcome"."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


class PredictionNotFound(LookupError):
    """No prediction has this ID; the message is for the caller."""


class PredictionQuerySet(models.QuerySet["Prediction"]):
    # The only version of the rows, and what `matching` has found out about them.
    _version_id: int | None = None
    _runs: Runs | None = None

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._version_id, clone._runs = self._version_id, self._runs
        return clone

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def of_version(self, version_id: int) -> Self:
        rows = self.filter(model_id=version_id)
        rows._version_id = version_id
        return rows

    def matching(self, **filters: Unpack[PredictionFilters]) -> Self:
        """The rows that match the filters of the lists; unknown values match none."""
        given = {name: value for name, value in filters.items() if value is not None}
        rows = self.filter(**{LOOKUPS[name]: given[name] for name in LOOKUPS if name in given})
        if "flagged" in given:
            rows = rows.filter(flags__isnull=not given["flagged"])
        version_ids: list[int] | None = None
        if self._version_id is not None:
            version_ids = [self._version_id]
        elif (model_id := filters.get("model_id")) is not None:
            version_ids = [model_id]
        if "model" in given:
            named, alias = versions_of(str(given["model"]))
            version_ids = named if version_ids is None else list(set(named) & set(version_ids))
            rows = rows.filter(model_id__in=version_ids)
            if alias is not None:
                rows, given = rows.filter(alias=alias), {**given, "alias": alias}
        if "user" in given:
            # Not a join: the planner knows how many rows this id has.
            user_id = user_id_of(str(given["user"]))
            rows = rows.none() if user_id is None else rows.filter(user_id=user_id)
        rows._runs = runs_of(given, version_ids, Prediction.Arm.values)
        return rows

    @property
    def lies_in_runs(self) -> bool:
        """Whether no single range of an index holds the rows in the order of lists."""
        return self._runs is not None

    def newest_of_runs(self, count: int, accessor: Accessor = SYSTEM) -> Self:
        """The newest of these rows, which lie in runs and which the accessor may read, without most
        of those after the first `count`.

        The runs of versions whose log the accessor may not read would be searched to their end for
        the accessor's own rows, which an index has in order.
        """
        assert self._runs is not None
        if rights.holds_everywhere(accessor, Right.READ_LOG):
            return self.filter(pk__in=newest_keys(self, self._runs, count))
        versions = readable_versions(accessor).filter(pk__in=self._runs.version_ids)
        runs = self._runs.of_versions(set(versions.order_by().values_list("pk", flat=True)))
        own = self.filter(user=accessor.user).values_list("pk", flat=True)[:count]
        return self.filter(pk__in=[*own, *newest_keys(self, runs, count)])

    def readable_by(self, accessor: Accessor) -> Self:
        """The rows that the accessor may read: their own, and those of models whose log they may
        read. For a sorted page of them, see `narrowed`.
        """
        return self.filter(readable(accessor))

    def in_commit_order(self) -> Self:
        """The rows below the horizon: those among which no row can appear later."""
        rows = self.order_by("transaction_id", "id")
        if connections[self.db].vendor == "sqlite":
            return rows
        return rows.filter(transaction_id__lt=Horizon())

    def listed(self, *, with_inputs: bool = False) -> Self:
        """The columns of a list: with the name of the version, usually without the input."""
        inputs = ["input_data"] if with_inputs else []
        version = ["model__name", "model__version"]
        return self.select_related("model").only(*LISTED_FIELDS, *inputs, *version)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete these rows and what refers to them; their hours are counted again."""
        with transaction.atomic(self.db):
            StaleHour.objects.mark_hours_of(self)
            return self.delete_of_marked_hours()

    def delete_of_marked_hours(self) -> tuple[int, dict[str, int]]:
        """As `delete`, of rows whose hours the caller has marked, in the same transaction."""
        return super().delete()

    def find(self, prediction_id: int) -> "Prediction":
        """The prediction with this ID, with its version and user; raises PredictionNotFound."""
        row = self.select_related("model", "user").filter(pk=prediction_id).first()
        if row is None:
            raise PredictionNotFound(f"Prediction {prediction_id} not found")
        return row


class Prediction(models.Model):
    """One input that a version scored or failed to score, and its answer."""

    class Status(models.TextChoices):
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    class Arm(models.TextChoices):
        """The role in which a version of an alias scored this input."""

        PRIMARY = "primary"
        CANARY = "canary"
        SHADOW = "shadow"

    model = models.ForeignKey(
        ModelVersion, on_delete=protect_by_sample, related_name="predictions", db_index=False
    )
    input_data = ExactJSONField()
    prediction = models.FloatField(
        null=True, help_text="The value of a regressor or the class index of a classifier."
    )
    confidence = models.FloatField(null=True, help_text="The probability of the predicted class.")
    output = ExactJSONField(
        null=True, help_text="Label and probabilities by class; or all outputs by name."
    )
    flags = ExactJSONField(
        null=True,
        help_text='Constraints that the input violates, such as ["age:max"]; null if none.',
    )
    metadata = AnnotationField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.SUCCEEDED)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    latency_ms = models.FloatField(null=True, help_text="Time spent in the model, in milliseconds.")
    request_id = models.CharField(max_length=100, blank=True, default="")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=protect_by_sample,
        null=True,
        related_name="+",
        db_index=False,
    )
    # No index: a key is never deleted, and nothing else looks predictions up by it.
    api_key = models.ForeignKey(
        ApiKey,
        on_delete=protect_by_sample,
        null=True,
        related_name="+",
        db_index=False,
        help_text="The API key that the request was made with, if any.",
    )
    created_at = models.DateTimeField(default=timezone.now)
    # Null means that the value was not given or does not apply; a null takes no space in a row.
    reference = models.CharField(  # noqa: DJ001
        max_length=MAX_CALLERS_NAME_LENGTH,
        null=True,
        help_text="The caller's own ID for the prediction; outcomes may be reported by it.",
    )
    subject = models.CharField(  # noqa: DJ001
        max_length=MAX_CALLERS_NAME_LENGTH,
        null=True,
        help_text="Who or what it is about. A canary keeps a subject on one arm.",
    )
    alias = models.CharField(  # noqa: DJ001
        max_length=50,
        null=True,
        help_text="The alias in the request; null if the request named a version.",
    )
    arm = models.CharField(max_length=10, choices=Arm, null=True)  # noqa: DJ001
    primary = models.ForeignKey(
        "self",
        on_delete=models.CASCADE,
        null=True,
        related_name="shadows",
        db_index=False,
        help_text="For a shadow's row: the answered prediction that it copies.",
    )

    transaction_id = models.BigIntegerField(
        editable=False,
        db_default=CurrentTransaction(),
        help_text="The transaction that inserted the row; 0 on SQLite.",
    )

    # Set by `attach_outcomes`.
    latest_outcome: "Outcome | Unknown | None" = UNKNOWN

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
                # A check that evaluates to NULL passes, so a null arm is tested explicitly.
                condition=Q(primary=None) & (Q(arm=None) | Q(arm__in=["primary", "canary"]))
                | Q(primary__isnull=False, arm__isnull=False, arm="shadow"),
                name="prediction_shadow_has_primary",
            ),
        ]
        indexes = [
            # GET /predictions/, and with created_after or created_before.
            models.Index(F("created_at").desc(), F("id").desc(), name="prediction_newest"),
            # GET /predictions/?model_id=, /models/{id}/predictions/, and the foreign key check.
            models.Index(
                "model", F("created_at").desc(), F("id").desc(), name="prediction_newest_of_model"
            ),
            # GET /predictions/?status=failed: finds rare rows without reading the others.
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
            # GET /predictions/?flagged=true: as rare.
            models.Index(
                "model",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(flags__isnull=False),
                name="prediction_flagged_of_model",
            ),
            models.Index(
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(flags__isnull=False),
                name="prediction_flagged_newest",
            ),
            # Outcomes by reference, and GET /predictions/?reference=.
            models.Index(
                "reference",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(reference__isnull=False),
                name="prediction_of_reference",
            ),
            # The new indexes have ascending keys, which PostgreSQL packs twice as densely when rows
            # arrive in the order of time; lists read them backwards.
            # GET /predictions/?subject=, and the erasure of a subject.
            models.Index(
                "subject",
                "created_at",
                "id",
                condition=Q(subject__isnull=False),
                name="prediction_of_subject",
            ),
            # GET /predictions/?request_id=. A stream may have millions of rows.
            models.Index("request_id", "created_at", "id", name="prediction_of_request"),
            # GET /predictions/?user=, a user's own predictions, and the foreign key check.
            models.Index(
                "user",
                "created_at",
                "id",
                condition=Q(user__isnull=False),
                name="prediction_of_user",
            ),
            # GET /predictions/?model=name@alias, ?alias= and ?arm=: a range for each version, alias
            # and arm.
            models.Index(
                "model",
                "alias",
                "arm",
                "created_at",
                "id",
                condition=Q(alias__isnull=False),
                name="prediction_of_alias",
            ),
            # The shadows of a prediction: the foreign key check, comparison and retention.
            models.Index(
                "primary", condition=Q(primary__isnull=False), name="prediction_shadows_of"
            ),
            # GET /predictions/?after=: the log in the order of commits.
            models.Index(F("transaction_id"), F("id"), name="prediction_commit_order"),
        ]

    def __str__(self) -> str:
        return f"Prediction {self.pk}"

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            StaleHour.objects.mark_hours_of(Prediction.objects.filter(pk=self.pk))
            return super().delete(*args, **options)
