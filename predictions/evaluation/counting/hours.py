"""The hours of the log: which ones a version has rows in, and which must be counted again."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db import connection

from predictions.models import StaleHour
from registry.models import ModelVersion

HOUR = timedelta(hours=1)

# Jumps from hour to hour by the index of a version's rows, whose number does not matter.
_POSTGRESQL = """
WITH RECURSIVE hours(hour) AS (
    SELECT date_trunc('hour', min(created_at), 'UTC') FROM predictions WHERE model_id = %(id)s
    UNION ALL
    SELECT (
        SELECT date_trunc('hour', min(created_at), 'UTC') FROM predictions
        WHERE model_id = %(id)s AND created_at >= hours.hour + interval '1 hour'
    ) FROM hours WHERE hour IS NOT NULL
) SELECT hour FROM hours WHERE hour IS NOT NULL
"""
_SQLITE = """
WITH RECURSIVE hours(hour) AS (
    SELECT strftime('%%Y-%%m-%%d %%H:00:00', min(created_at)) FROM predictions
    WHERE model_id = %(id)s
    UNION ALL
    SELECT (
        SELECT strftime('%%Y-%%m-%%d %%H:00:00', min(created_at)) FROM predictions
        WHERE model_id = %(id)s AND created_at >= datetime(hours.hour, '+1 hour')
    ) FROM hours WHERE hour IS NOT NULL
) SELECT hour FROM hours WHERE hour IS NOT NULL
"""


def hour_of(time: datetime) -> datetime:
    """The beginning of its hour, in UTC."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hours_of(version_id: int) -> list[datetime]:
    """The hours in which the version has rows, oldest first."""
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE if is_sqlite else _POSTGRESQL, {"id": version_id})
        hours = [hour for (hour,) in cursor.fetchall()]
    if is_sqlite:
        return [datetime.fromisoformat(hour).replace(tzinfo=UTC) for hour in hours]
    return [hour.astimezone(UTC) for hour in hours]


def mark_versions(version_ids: Iterable[int]) -> None:
    """Let all hours of these versions be counted again.

    Must be called while counts are locked (ledger.changing), so that rows are either seen here or
    counted later by what the caller has changed.
    """
    # All at once, so that they are marked in the order that keeps those who mark from deadlocks.
    StaleHour.objects.mark(
        (version_id, hour) for version_id in version_ids for hour in hours_of(version_id)
    )


def mark_model(name: str) -> None:
    """As mark_versions, for all versions of a model that have a reference."""
    versions = ModelVersion.objects.filter(name=name, references__isnull=False).distinct()
    mark_versions(versions.values_list("pk", flat=True))
