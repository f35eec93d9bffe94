"""The audit trail as NDJSON, for the archive of an auditor."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import orjson
from django.db.models import Min
from django.utils import timezone

from registry.audit.serializers import AuditEventSerializer
from registry.models import AuditEvent

CHUNK_ROWS = 1000
# An event gets its id a moment before it is committed, and may appear behind a later one. No
# transaction that writes an event takes as long as this.
SETTLED_AFTER = timedelta(minutes=5)


@dataclass(slots=True)
class Summary:
    """What has been written so far; the next export begins after `last_id`."""

    last_id: int
    events: int = 0
    sha256: str = ""


def lines_after(last_id: int, summary: Summary) -> Iterator[bytes]:
    """A line for each settled event after this id, in the order of ids; keeps the summary."""
    digest = hashlib.sha256()
    rows = AuditEvent.objects.select_related("user", "api_key").order_by("id")
    # Once, so that two runs over the same events do not depend on how long they take.
    settled_before = timezone.now() - SETTLED_AFTER
    rows = rows.filter(created_at__lt=settled_before)
    unsettled = AuditEvent.objects.filter(id__gt=last_id, created_at__gte=settled_before)
    first_unsettled = unsettled.aggregate(first=Min("id"))["first"]
    if first_unsettled is not None:
        # Times need not rise with the ids, and the next export begins after the last id of this.
        rows = rows.filter(id__lt=first_unsettled)
    serializer = AuditEventSerializer()
    while chunk := list(rows.filter(id__gt=last_id)[:CHUNK_ROWS]):
        for row in chunk:
            line = orjson.dumps(
                serializer.to_representation(row),
                option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
            )
            digest.update(line)
            yield line
        last_id = chunk[-1].pk
        summary.last_id, summary.events = last_id, summary.events + len(chunk)
    summary.sha256 = digest.hexdigest()
