"""Outcomes reported at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from predictions.evaluation.outcomes.recording import RecordedCounts, record_outcomes
from predictions.evaluation.outcomes.reports import parse_report
from predictions.models import Outcome
from predictions.testing.rows import REGRESSOR_SIGNATURE, create_predictions, make_version


@pytest.mark.django_db(transaction=True)
def test_the_same_reports_of_eight_callers_are_recorded_once() -> None:
    keys = [row.pk for row in create_predictions(make_version(REGRESSOR_SIGNATURE), [1.0] * 50)]
    reports = [
        parse_report({"prediction_id": pk, "value": 2.0, "observed_at": "2026-03-01T10:00:00Z"})
        for pk in keys
    ]

    def record(caller: int) -> RecordedCounts:
        try:
            # In different orders, which must not deadlock.
            return record_outcomes(reports[caller * 6 :] + reports[: caller * 6])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(record, range(8)))

    assert sum(counts.recorded for counts in results) == Outcome.objects.count() == 50
    assert sum(counts.unchanged for counts in results) == 7 * 50
