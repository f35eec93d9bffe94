"""The tables of references, and of the counts by hour that are compared with them."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from registry.exact_json.fields import ExactJSONField
from registry.models import ModelVersion

MAX_SEGMENT_LENGTH = 400


class ReferenceNotFound(LookupError):
    """The version has no reference; the message is for the caller."""


class ReferenceQuerySet(models.QuerySet["Reference"]):
    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def in_force(self) -> Self:
        """The newest reference of each version: its live rows are compared with this one."""
        newest = self.model.objects.filter(model=models.OuterRef("model")).order_by("-id")
        return self.filter(pk=models.Subquery(newest.values("pk")[:1]))

    def of_version(self, version_id: int) -> "Reference":
        """The one in force; raises ReferenceNotFound."""
        row = self.filter(model=version_id).order_by("-id").first()
        if row is None:
            raise ReferenceNotFound(f"Model {version_id} has no reference")
        return row


class Reference(models.Model):
    """What a version's inputs and answers look like when all is well. Never changed or replaced:
    another one of the same version is another row, and the newest is in force.

    `profile` has the bins of each variable with the reference's own counts; see
    predictions/evaluation/drift/profiles.py. `digest` is the SHA-256 of its canonical JSON.
    """

    class Source(models.TextChoices):
        FILE = "file"
        LOG = "log"

    # Cascades: a version without predictions may be deleted.
    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="references")
    source = models.CharField(max_length=10, choices=Source)
    description = models.CharField(max_length=500, blank=True, default="")
    since = models.DateTimeField(null=True, help_text="Of a window of the log: its beginning.")
    until = models.DateTimeField(null=True, help_text="Of a window of the log: its end.")
    rows = models.PositiveIntegerField()
    labelled_rows = models.PositiveIntegerField(default=0)
    profile = ExactJSONField()
    background = ExactJSONField(
        default=list, help_text="A few of its inputs, against which explanations are made."
    )
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )

    objects = ReferenceQuerySet.as_manager()

    class Meta:
        db_table = "model_references"
        constraints = [
            models.CheckConstraint(condition=Q(rows__gt=0), name="reference_has_rows"),
            models.CheckConstraint(
                condition=Q(source="file", since=None, until=None)
                | Q(source="log", since__isnull=False, until__isnull=False, since__lt=F("until")),
                name="reference_of_log_has_window",
            ),
        ]

    def __str__(self) -> str:
        return f"Reference {self.pk}"


class HourCounts(models.Model):
    """How often each bin of a reference occurred in one hour of a version, in one segment.

    The counts are exact and can be added up. They are those of the version's rows that were made in
    the hour, as far as the log has been counted (CountedTo), without those of StaleHours.
    """

    # No index of its own: that of the unique constraint begins with it.
    reference = models.ForeignKey(Reference, on_delete=models.CASCADE, db_index=False)
    segment = models.CharField(
        max_length=MAX_SEGMENT_LENGTH,
        blank=True,
        default="",
        help_text='Such as "feature:plan=gold"; empty for all rows.',
    )
    hour = models.DateTimeField(help_text="Its beginning, in UTC.")
    rows = models.PositiveIntegerField()
    counts = ExactJSONField()

    class Meta:
        db_table = "hour_counts"
        constraints = [
            # Its index also serves the counts of a window.
            models.UniqueConstraint(
                fields=["reference", "segment", "hour"], name="hour_counts_unique"
            ),
            models.CheckConstraint(condition=Q(rows__gt=0), name="hour_counts_has_rows"),
        ]

    def __str__(self) -> str:
        return f"Counts {self.pk}"


class CountedTo(models.Model):
    """Up to which row, in the order of commits, the log has been counted. One row.

    It is locked by everything that changes counts, or what is counted, and changed in the same
    transaction. Rows are read before it is locked: `changes` tells whether anything has changed
    since.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    transaction_id = models.BigIntegerField(default=-1)
    prediction_id = models.BigIntegerField(default=0)
    changes = models.BigIntegerField(default=0)
    reached_at = models.DateTimeField(
        null=True, help_text="Everything that was committed before this time has been counted."
    )

    class Meta:
        db_table = "counted_to"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="counted_to_is_one_row")]

    def __str__(self) -> str:
        return f"{self.transaction_id}.{self.prediction_id}"


class StaleHourQuerySet(models.QuerySet["StaleHour"]):
    def mark(self, hours: Iterable[tuple[int, datetime]]) -> None:
        """Let these hours of versions, by their IDs, be counted again.

        In the order of time, so that those who mark several of the same hours do not wait for each
        other.
        """
        ordered = sorted(set(hours), key=lambda pair: (pair[1], pair[0]))
        self.bulk_create(
            [StaleHour(model_id=model_id, hour=hour) for model_id, hour in ordered],
            batch_size=1000,
            # Not ignored: who is counting an hour that was marked before must notice.
            update_conflicts=True,
            update_fields=["token"],
            unique_fields=["model", "hour"],
        )

    def mark_hours_of(self, rows: models.QuerySet[Any]) -> None:
        """Let the hours of these predictions and of their shadows be counted again."""
        predictions = rows.model._default_manager.using(rows.db)
        shadows = predictions.filter(primary__in=rows.order_by().values("pk"))
        self.mark([*_hours_of(rows), *_hours_of(shadows)])


def _hours_of(rows: models.QuerySet[Any]) -> Iterable[tuple[int, datetime]]:
    annotated = rows.order_by().annotate(hour=TruncHour("created_at", tzinfo=UTC))
    hours: Iterable[tuple[int, datetime]] = annotated.values_list("model_id", "hour").distinct()
    return hours


def new_token() -> int:
    return secrets.randbits(63)


class StaleHour(models.Model):
    """An hour of a version that must be counted again from its rows.

    Written in the transaction that deletes rows of the hour, sets a reference, or changes which
    segments are counted.
    """

    # No index of its own: that of the unique constraint begins with it.
    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, db_index=False)
    hour = models.DateTimeField(help_text="Its beginning, in UTC.")
    token = models.BigIntegerField(
        default=new_token, help_text="Changes each time that the hour is marked again."
    )

    objects = StaleHourQuerySet.as_manager()

    class Meta:
        db_table = "stale_hours"
        constraints = [
            models.UniqueConstraint(fields=["model", "hour"], name="stale_hour_unique"),
        ]

    def __str__(self) -> str:
        return f"Hour {self.hour:%Y-%m-%d %H} of model {self.model_id}"
