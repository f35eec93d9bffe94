"""The heat map in the admin: how far each variable was from the reference on each day."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from predictions.models import Prediction
from predictions.testing.drifting import drifting_version
from predictions.testing.rows import NOON
from registry.testing.clients import text_of

URL = "/admin/predictions/prediction/monitoring"
DAYS = "from=2026-01-01&to=2026-01-03"
pytestmark = pytest.mark.django_db


def cells_of(page: str, label: str) -> list[tuple[str, str]]:
    """The classes and texts of a row of the heat map."""
    [row] = re.findall(
        rf'<th scope="row">(?:<a [^>]*>)?{label}(?:</a>)?</th>(.*?)</tr>', page, re.DOTALL
    )
    cells = re.findall(r'<td class="([^"]*)"[^>]*>(.*?)</td>', row, re.DOTALL)
    return [(kind, " ".join(re.sub(r"<[^>]+>", " ", text).split())) for kind, text in cells]


def test_the_heat_map_shows_which_variable_moved_on_which_day(admin_client: Client) -> None:
    version, _ = drifting_version()

    page = text_of(admin_client.get(f"{URL}/{version.pk}/?{DAYS}"))

    (first, _), (second, text) = cells_of(page, "age")
    assert first == "shade-0"
    assert second == "shade-3 severe"
    assert float(text.split()[0]) > 0.25
    # Words, not colour alone, say that it is an alarm, and what it is about.
    assert "severe" in text
    assert cells_of(page, "plan")[1][1].split()[-1] == "new"
    assert {kind for kind, _ in cells_of(page, "words of review")} <= {"shade-0", "shade-1"}
    assert "age moved from a median of" in page


def test_the_estimated_accuracy_shows_a_fall_by_two_points(
    admin_client: Client,
) -> None:
    version, _ = drifting_version()

    page = text_of(admin_client.get(f"{URL}/{version.pk}/?{DAYS}"))

    texts = [text for _, text in cells_of(page, "Estimated accuracy")]
    assert len(texts) == 2
    assert all(re.match(r"\d\d(\.\d)? %", text) for text in texts)


def test_days_with_few_rows_have_no_verdict(admin_client: Client) -> None:
    version, _ = drifting_version(40)

    page = text_of(admin_client.get(f"{URL}/{version.pk}/?{DAYS}"))

    assert cells_of(page, "age") == [("shade-0", "few"), ("shade-0", "few")]
    assert "Too few rows: 40 of at least 100" in page


def test_the_heat_map_takes_the_same_queries_at_any_length(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    version, _ = drifting_version(10)
    Prediction.objects.update(created_at=NOON + timedelta(days=5))

    for days in (DAYS, "from=2026-01-01&to=2026-03-01"):
        # Session, user, version, alerts, reference, counts, segments, quality.
        with django_assert_max_num_queries(16):
            admin_client.get(f"{URL}/{version.pk}/?{days}")
