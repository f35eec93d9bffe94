"""Outcomes that are told at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from predictions.evaluation.outcomes.recording import Recorded, record_outcomes
from predictions.evaluation.outcomes.reports import parse_report
from predictions.models import Outcome
from predictions.testing.rows import REGRESSOR_SIGNATURE, create_predictions, make_version


@pytest.mark.django_db(transaction=True)
def test_what_eight_callers_tell_at_once_is_recorded_once() -> None:
    keys = [row.pk for row in create_predictions(make_version(REGRESSOR_SIGNATURE), [1.0] * 50)]
    reports = [
        parse_report({"prediction_id": pk, "value": 2.0, "observed_at": "2026-03-01T10:00:00Z"})
        for pk in keys
    ]

    def tell(place: int) -> Recorded:
        try:
            # Each in another order: they must not wait for each other in a circle.
            return record_outcomes(reports[place * 6 :] + reports[: place * 6])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(tell, range(8)))

    assert sum(done.recorded for done in told) == Outcome.objects.count() == 50
    assert sum(done.unchanged for done in told) == 7 * 50
