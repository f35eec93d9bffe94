"""Replays in the admin: read-only, and readable."""

from html import unescape
from typing import Any

import pytest
from django.test import Client

from predictions.evaluation.replays import replay
from predictions.models import Prediction
from predictions.testing.replays import (
    MakeVersion,
    iris_rows,
    recorded_labels,
    recorded_values,
    replayed,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.models import ModelVersion
from registry.testing.fixtures import Artifact

URL = "/admin/predictions/replay/"


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return unescape(response.content.decode())


def test_a_replay_shows_its_figures_and_links_its_worst_rows(
    admin_client: Client, iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = recorded_labels(iris, iris_artifact, iris_rows()[::10])
    Prediction.objects.filter(pk=rows[3].pk).update(input_data={"features": ["<b>"]})
    row = replayed(iris, coarse)
    assert row.report is not None

    response = admin_client.get(f"{URL}{row.pk}/change/")
    page = text_of(response)

    assert f"{row.report['agreement']:.2%}" in page
    assert page.count('<figure class="chart">') == 2
    for pair in (*row.report["worst"], *row.report["unanswered"]):
        assert f'/admin/predictions/prediction/{pair["prediction_id"]}/change/"' in page
    assert "of 5" in page
    assert b"<b>" not in response.content
    assert "virginica" in page


def test_a_replay_of_values_is_shown(
    admin_client: Client, diabetes: ModelVersion, make_version: MakeVersion
) -> None:
    old = make_version("old", framework="R")
    recorded_values(old, [[0.0] * 10] * 3, [1.5, 2.0, 3.0])
    row = replayed(old, diabetes)

    page = text_of(admin_client.get(f"{URL}{row.pk}/change/"))

    assert page.count('<figure class="chart">') == 1
    assert "half within" in page


def test_a_replay_without_figures_is_shown(
    admin_client: Client, iris: ModelVersion, coarse: ModelVersion
) -> None:
    begun = replay.start(replay.Plan(from_version=iris, to_version=coarse))
    empty = replayed(iris, coarse)

    for row in (begun, empty):
        assert "iris:2" in text_of(admin_client.get(f"{URL}{row.pk}/change/"))


def test_nothing_can_be_added_changed_or_deleted(
    admin_client: Client, iris: ModelVersion, coarse: ModelVersion
) -> None:
    row = replayed(iris, coarse)

    assert admin_client.get(f"{URL}add/").status_code == 403
    assert admin_client.post(f"{URL}{row.pk}/change/", {"name": "x"}).status_code == 403
    assert admin_client.post(f"{URL}{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("n", [1, 10])
def test_the_list_costs_the_same_however_long(
    admin_client: Client,
    iris: ModelVersion,
    coarse: ModelVersion,
    django_assert_num_queries: Any,
    n: int,
) -> None:
    for _ in range(n):
        replayed(iris, coarse)

    # Session, user, the count, the rows.
    with django_assert_num_queries(4):
        assert "iris:2" in text_of(admin_client.get(URL))
