"""Outcomes in the admin: read-only, and never counted."""

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from predictions.models import Outcome
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_predictions,
    make_version,
)

URL = "/admin/predictions/outcome/"


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    page: str = response.content.decode()
    return page


def test_outcomes_are_listed_without_being_counted(admin_client: Client) -> None:
    version = make_version(classifier_signature(["<b>a</b>", "b"]))
    add_labels(create_predictions(version, [0.0] * 3), ["<b>a</b>"] * 3)

    with CaptureQueriesContext(connection) as queries:
        page = text_of(admin_client.get(URL))

    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert not [q["sql"] for q in queries if "COUNT" in q["sql"] and "LIMIT" not in q["sql"]]
    assert len([q for q in queries if 'FROM "outcomes"' in q["sql"]]) == 2


def test_an_outcome_is_shown_and_not_changed(admin_client: Client) -> None:
    add_values(create_predictions(make_version(REGRESSOR_SIGNATURE), [1.0]), [2.5])
    pk = Outcome.objects.get().pk

    page = text_of(admin_client.get(f"{URL}{pk}/change/"))

    assert "2.5" in page
    assert "_save" not in page
    assert admin_client.post(f"{URL}{pk}/delete/", {"post": "yes"}).status_code == 403
