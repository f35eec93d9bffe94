"""The tables of replays: recorded inputs scored with another version, and the comparison."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.predictions import MAX_ERROR_LENGTH, Prediction
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.fields import ExactJSONField
from registry.models import ModelVersion, Right

MAX_REPLAY_NAME_LENGTH = 100


class ReplayNotFound(LookupError):
    """No replay has this ID; the message is for the caller."""


class ReplayQuerySet(models.QuerySet["Replay"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def matching(
        self,
        *,
        from_version: int | tuple[str, str] | None = None,
        to_version: int | tuple[str, str] | None = None,
        status: str | None = None,
    ) -> Self:
        """The rows that match the filters of the list endpoint.

        A version is given by its ID, or by its name and version.
        """
        filters: dict[str, object] = {} if status is None else {"status": status}
        for field, version in (("from_version", from_version), ("to_version", to_version)):
            if isinstance(version, int):
                filters[field] = version
            elif version is not None:
                filters |= {f"{field}__name": version[0], f"{field}__version": version[1]}
        return self.filter(**filters)

    def readable_by(self, accessor: Accessor) -> Self:
        """The replays of inputs that the accessor may read, with versions of which they may know:
        results show the recorded answers beside the new ones.
        """
        rows = rights.with_right(self, accessor, Right.READ_LOG, "from_version__name")
        return rights.visible(rows, accessor, "to_version__name")

    def with_versions(self) -> Self:
        return self.select_related("from_version", "to_version", "created_by")

    def find(self, replay_id: int) -> "Replay":
        """The replay with this ID; raises ReplayNotFound."""
        row = self.filter(pk=replay_id).first()
        if row is None:
            raise ReplayNotFound(f"Replay {replay_id} not found")
        return row


class Replay(models.Model):
    """The recorded inputs of `from_version`, scored again with `to_version`.

    The rows are the succeeded predictions of `from_version`, on any arm, that were made at `since`
    or later, before `until`, and before the replay itself; the newest `limit` of them.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"

    name = models.CharField(max_length=MAX_REPLAY_NAME_LENGTH, blank=True, default="")
    # Cascades: a version without predictions may be deleted, together with its replays.
    from_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    to_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField(
        null=True, help_text="Only predictions made at this time or later."
    )
    until = models.DateTimeField(null=True, help_text="Only predictions made before this time.")
    limit = models.BigIntegerField(
        null=True, help_text="The maximum number of rows; the newest are taken."
    )
    tolerance = models.FloatField(
        null=True,
        help_text="Values that differ by at most this agree; null allows rounding alone.",
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    # The key of the last replayed row, after which an interrupted replay continues.
    cursor_at = models.DateTimeField(null=True)
    cursor_id = models.BigIntegerField(null=True)
    rows_expected = models.BigIntegerField(default=0, help_text="Counted when the replay started.")
    rows_done = models.BigIntegerField(default=0)
    report = ExactJSONField(null=True, help_text="The figures of a completed replay.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
    )
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    objects = ReplayQuerySet.as_manager()

    class Meta:
        db_table = "replays"
        constraints = [
            models.CheckConstraint(
                condition=Q(status="completed", report__isnull=False, finished_at__isnull=False)
                | ~Q(status="completed") & Q(report__isnull=True, finished_at=None),
                name="replay_completed_has_report",
            ),
            models.CheckConstraint(
                condition=Q(cursor_at=None, cursor_id=None, rows_done=0)
                | Q(cursor_at__isnull=False, cursor_id__isnull=False, rows_done__gt=0),
                name="replay_cursor_is_whole",
            ),
        ]
        indexes = [
            # GET /replays/, newest first, by key. The foreign keys' indexes serve its filters.
            models.Index(F("created_at").desc(), F("id").desc(), name="replay_newest"),
        ]

    def __str__(self) -> str:
        return f"Replay {self.pk}"


class ReplayResultQuerySet(models.QuerySet["ReplayResult"]):
    def newest_first(self) -> Self:
        return self.order_by("-original_id")

    def worst_first(self) -> Self:
        """The compared rows, the largest distance first."""
        return self.filter(status=ReplayResult.Status.COMPARED).order_by("-distance", "id")

    def matching(self, *, order: str) -> Self:
        """The rows in the order that the list endpoint's parameter names."""
        return self.worst_first() if order == "worst" else self.newest_first()

    def unanswered(self) -> Self:
        """Failed, incomparable and refused rows, grouped by status."""
        # An index can find listed values, but not "other than compared".
        others = set(ReplayResult.Status.values) - {ReplayResult.Status.COMPARED.value}
        return self.filter(status__in=sorted(others)).order_by("status", "id")


class ReplayResult(models.Model):
    """The new answer to one recorded input, and how it compares with the recorded answer."""

    class Status(models.TextChoices):
        COMPARED = "compared"
        # One answer is a number, the other a label or several outputs.
        INCOMPARABLE = "incomparable"
        # The input does not match the signature of the new version.
        REFUSED = "refused"
        # The new version failed on the input.
        FAILED = "failed"

    # No index of its own: that of the unique constraint begins with it.
    replay = models.ForeignKey(
        Replay, on_delete=models.CASCADE, related_name="results", db_index=False
    )
    # With an index of its own: retention deletes by prediction.
    original = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="replayed")
    status = models.CharField(max_length=12, choices=Status)
    prediction = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    output = ExactJSONField(null=True)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    difference = models.FloatField(
        null=True,
        help_text="New less recorded value, or probability of the recorded label.",
    )
    distance = models.FloatField(
        default=0.0,
        help_text="|difference|; without a difference 0 if the answers agree, else 1.",
    )
    agrees = models.BooleanField(default=False)

    objects = ReplayResultQuerySet.as_manager()

    class Meta:
        db_table = "replay_results"
        constraints = [
            # Its index also serves GET /replays/{id}/results/?order=newest.
            models.UniqueConstraint(fields=["replay", "original"], name="replay_result_unique"),
            models.CheckConstraint(
                condition=Q(status="compared", error="")
                | ~Q(status="compared") & ~Q(error="") & Q(difference=None, agrees=False),
                name="replay_result_compared_or_says_why",
            ),
        ]
        indexes = [
            # GET /replays/{id}/results/?order=worst, the worst ten, quantiles of the distance, and
            # the rows by status.
            models.Index(
                "replay", "status", F("distance").desc(), "id", name="replay_result_worst"
            ),
        ]

    def __str__(self) -> str:
        return f"Result {self.pk} of replay {self.replay_id}"
