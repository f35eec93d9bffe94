"""Sends a request both ways, in front of Django and past the fast lane, and compares what comes of
it: status, headers, body and rows.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.forms import model_to_dict

from mlapi import wsgi
from mlapi.tests.fast_lane.requests import Sent
from predictions.models import Prediction

# Differs between any two requests.
VOLATILE = re.compile(rb'"(created_at|latency_ms)": ?("[^"]*"|[\d.e+-]+)')
# Where a body has the ids of predictions.
IDS = re.compile(rb'("id": ?|prediction_ids": ?"?\[)(\d+(?:,\d+)*)')
# DRF adds it to all its responses; clients of a POST have no use for it.
LEFT_OUT_HEADERS = {"allow"}


@dataclass(frozen=True)
class Received:
    """What came of a request: the response, and the rows that it left."""

    status: str
    headers: dict[str, str]
    body: bytes
    rows: list[dict[str, object]]


Application = Callable[..., Iterable[bytes]]


def receive(application: Application, sent: Sent) -> Received:
    """Send a request; ids and times are replaced by what does not change between two requests."""
    before = set(Prediction.objects.values_list("pk", flat=True))
    started: list[tuple[str, list[tuple[str, str]]]] = []
    chunks = application(sent.environ(), lambda status, headers: started.append((status, headers)))
    body = b"".join(chunks)
    [(status, headers)] = started
    rows = list(Prediction.objects.exclude(pk__in=before).order_by("pk"))
    body = IDS.sub(lambda match: match[1] + _places(match[2], rows), body)
    kept = {
        name.lower(): value
        for name, value in headers
        if name.lower() not in LEFT_OUT_HEADERS | {"content-length"}
    }
    fields = [
        model_to_dict(row, exclude=["id", "created_at", "latency_ms"]) | {"model": row.model_id}
        for row in rows
    ]
    return Received(status, kept, VOLATILE.sub(b"", body), fields)


def _places(ids: bytes, rows: Sequence[Prediction]) -> bytes:
    places = {row.pk: place for place, row in enumerate(rows)}
    return b",".join(b"ROW%d" % places[int(pk)] for pk in ids.split(b","))


def past_the_fast_lane(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return wsgi.django_application(environ, start_response)


def differences(requests: Sequence[Sent], django: Application = past_the_fast_lane) -> list[str]:
    """Send all requests both ways; what differs, in words."""
    found = []
    for sent in requests:
        fast, usual = receive(wsgi.application, sent), receive(django, sent)
        if fast != usual:
            found.append(f"{sent}\n  fast: {fast}\n  Django: {usual}")
    return found
