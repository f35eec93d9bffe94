"""Sends a request through the fast lane and through Django alone, and compares the results: status,
headers, body and rows.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.forms import model_to_dict

from mlapi import wsgi
from mlapi.tests.fast_lane.requests import ClientRequest
from predictions.models import Prediction

# Fields that differ between any two responses.
VOLATILE = re.compile(rb'"(created_at|latency_ms)": ?("[^"]*"|[\d.e+-]+)')
# The ids of predictions in a body.
IDS = re.compile(rb'("id": ?|prediction_ids": ?"?\[)(\d+(?:,\d+)*)')
# DRF adds Allow to all its responses; clients of a POST do not need it. The length depends on the
# volatile fields.
IGNORED_HEADERS = {"allow", "content-length"}


@dataclass(frozen=True)
class Result:
    """The response to a request, and the rows that it wrote."""

    status: str
    headers: dict[str, str]
    body: bytes
    rows: list[dict[str, object]]


Application = Callable[..., Iterable[bytes]]


def send(application: Application, request: ClientRequest) -> Result:
    """Send a request; in the result, whatever differs between equal requests is replaced."""
    ids_before = set(Prediction.objects.values_list("pk", flat=True))
    started: list[tuple[str, list[tuple[str, str]]]] = []
    chunks = application(
        request.environ(), lambda status, headers: started.append((status, headers))
    )
    body = b"".join(chunks)
    [(status, headers)] = started
    rows = list(Prediction.objects.exclude(pk__in=ids_before).order_by("pk"))
    body = IDS.sub(lambda match: match[1] + _placeholders(match[2], rows), body)
    compared_headers = {
        name.lower(): value for name, value in headers if name.lower() not in IGNORED_HEADERS
    }
    fields = [
        model_to_dict(row, exclude=["id", "created_at", "latency_ms"]) | {"model": row.model_id}
        for row in rows
    ]
    return Result(status, compared_headers, VOLATILE.sub(b"", body), fields)


def _placeholders(ids: bytes, rows: Sequence[Prediction]) -> bytes:
    places = {row.pk: place for place, row in enumerate(rows)}
    return b",".join(b"ROW%d" % places[int(pk)] for pk in ids.split(b","))


def django_alone(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return wsgi.django_application(environ, start_response)


def differences(requests: Sequence[ClientRequest], django: Application = django_alone) -> list[str]:
    """Send all requests both ways; return a description of each difference."""
    descriptions = []
    for request in requests:
        fast, usual = send(wsgi.application, request), send(django, request)
        if fast != usual:
            descriptions.append(f"{request}\n  fast: {fast}\n  Django: {usual}")
    return descriptions
