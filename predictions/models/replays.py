"""The tables of replays: recorded inputs, scored with another version, and how they compare."""

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from predictions.models.log import MAX_ERROR_LENGTH, Prediction
from registry.exact_json.fields import ExactJSONField
from registry.models import ModelVersion

MAX_REPLAY_NAME_LENGTH = 100


class ReplayNotFound(LookupError):
    """There is no such replay; the message is for the caller."""


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
        """The rows that the filters of the list endpoint leave; a version is its id, or its name
        and version.
        """
        wanted: dict[str, Any] = {} if status is None else {"status": status}
        for field, version in (("from_version", from_version), ("to_version", to_version)):
            if isinstance(version, int):
                wanted[field] = version
            elif version is not None:
                wanted |= {f"{field}__name": version[0], f"{field}__version": version[1]}
        return self.filter(**wanted)

    def with_versions(self) -> Self:
        return self.select_related("from_version", "to_version", "created_by")

    def find(self, replay_id: int) -> "Replay":
        """The replay with this id; raises ReplayNotFound."""
        row = self.filter(pk=replay_id).first()
        if row is None:
            raise ReplayNotFound(f"Replay {replay_id} not found")
        return row


class Replay(models.Model):
    """What `from_version` was asked, asked again of `to_version`.

    Its rows are the succeeded predictions of `from_version`, on whatever arm, that were made from
    `since` on, before `until` and before the replay itself, newest first; at most `limit` of them.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"

    name = models.CharField(max_length=MAX_REPLAY_NAME_LENGTH, blank=True, default="")
    # A version without predictions may be deleted; what it was tried for then goes with it.
    from_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    to_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField(null=True, help_text="Of the rows' times, the first.")
    until = models.DateTimeField(null=True, help_text="The first time past the rows'.")
    limit = models.BigIntegerField(null=True, help_text="At most so many rows, the newest.")
    tolerance = models.FloatField(
        null=True, help_text="How far values may differ and agree; null for rounding alone."
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    # The key of the last row that was replayed: where a killed replay goes on.
    cursor_at = models.DateTimeField(null=True)
    cursor_id = models.BigIntegerField(null=True)
    rows_expected = models.BigIntegerField(default=0, help_text="As counted when it began.")
    rows_done = models.BigIntegerField(default=0)
    report = ExactJSONField(null=True, help_text="The figures, once it is completed.")
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
            # GET /replays/: newest first, by key. Versions' own indexes serve its filters.
            models.Index(F("created_at").desc(), F("id").desc(), name="replay_newest"),
        ]

    def __str__(self) -> str:
        return f"Replay {self.pk}"


class ReplayResultQuerySet(models.QuerySet["ReplayResult"]):
    def newest_first(self) -> Self:
        return self.order_by("-original_id")

    def worst_first(self) -> Self:
        """The answers that could be compared, the furthest apart first."""
        return self.filter(status=ReplayResult.Status.COMPARED).order_by("-distance", "id")

    def matching(self, *, order: str) -> Self:
        """The rows as the list endpoint's filter asks for them."""
        return self.worst_first() if order == "worst" else self.newest_first()

    def unanswered(self) -> Self:
        """Refused, failed and incomparable rows, each kind together."""
        # Named one by one: no index finds what is not compared.
        others = set(ReplayResult.Status.values) - {ReplayResult.Status.COMPARED.value}
        return self.filter(status__in=sorted(others)).order_by("status", "id")


class ReplayResult(models.Model):
    """One recorded input's answer by the other version, beside the recorded one."""

    class Status(models.TextChoices):
        COMPARED = "compared"
        # Answered, but with a label where a number was recorded, or the other way round.
        INCOMPARABLE = "incomparable"
        # The input does not fit the other version's signature.
        REFUSED = "refused"
        # The other version failed on it.
        FAILED = "failed"

    # A row of the unique constraint's index begins with it.
    replay = models.ForeignKey(
        Replay, on_delete=models.CASCADE, related_name="results", db_index=False
    )
    # Indexed by itself: retention deletes by prediction.
    original = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="replayed")
    status = models.CharField(max_length=12, choices=Status)
    prediction = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    output = ExactJSONField(null=True)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True, default="")
    difference = models.FloatField(
        null=True,
        help_text="New less recorded: values, or its label's probabilities.",
    )
    distance = models.FloatField(
        default=0.0,
        help_text="|difference|; without one, 1 for different answers, else 0.",
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
            # the rows that were refused or failed.
            models.Index(
                "replay", "status", F("distance").desc(), "id", name="replay_result_worst"
            ),
        ]

    def __str__(self) -> str:
        return f"Result {self.pk} of replay {self.replay_id}"
