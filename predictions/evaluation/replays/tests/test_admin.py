"""Replays in the admin: read-only and readable."""

from typing import Any

import pytest
from django.test import Client

from predictions.evaluation.figures import percent
from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import Plan
from predictions.models import Prediction
from predictions.testing.replays import (
    MakeVersion,
    iris_rows,
    record_labels,
    record_values,
    run_replay,
)
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact
from registry.testing.clients import text_of

URL = "/admin/predictions/replay/"


def test_a_replay_shows_its_figures_and_links_its_worst_rows(
    admin_client: Client, iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    rows = record_labels(iris, iris_artifact, iris_rows()[::10])
    Prediction.objects.filter(pk=rows[3].pk).update(input_data={"features": ["<b>"]})
    replay = run_replay(iris, coarse)
    assert replay.report is not None

    response = admin_client.get(f"{URL}{replay.pk}/change/")
    page = text_of(response)

    assert percent(replay.report["agreement"], 2) in page
    assert page.count('<figure class="chart">') == 2
    for row in (*replay.report["worst"], *replay.report["unanswered"]):
        assert f'/admin/predictions/prediction/{row["prediction_id"]}/change/"' in page
    assert "of 5" in page
    assert b"<b>" not in response.content
    assert "virginica" in page


def test_a_replay_of_values_is_shown(
    admin_client: Client, diabetes: ModelVersion, make_version: MakeVersion
) -> None:
    old = make_version("old", framework="R")
    record_values(old, [[0.0] * 10] * 3, [1.5, 2.0, 3.0])
    replay = run_replay(old, diabetes)

    page = text_of(admin_client.get(f"{URL}{replay.pk}/change/"))

    assert page.count('<figure class="chart">') == 1
    assert "90th percentile" in page


def test_a_replay_without_figures_is_shown(
    admin_client: Client, iris: ModelVersion, coarse: ModelVersion
) -> None:
    started = runner.start(Plan(from_version=iris, to_version=coarse))
    without_rows = run_replay(iris, coarse)

    for replay in (started, without_rows):
        assert "iris:2" in text_of(admin_client.get(f"{URL}{replay.pk}/change/"))


def test_nothing_can_be_added_changed_or_deleted(
    admin_client: Client, iris: ModelVersion, coarse: ModelVersion
) -> None:
    replay = run_replay(iris, coarse)

    assert admin_client.get(f"{URL}add/").status_code == 403
    assert admin_client.post(f"{URL}{replay.pk}/change/", {"name": "x"}).status_code == 403
    assert admin_client.post(f"{URL}{replay.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("n", [1, 10])
def test_the_list_takes_the_same_queries_at_any_length(
    admin_client: Client,
    iris: ModelVersion,
    coarse: ModelVersion,
    django_assert_num_queries: Any,
    n: int,
) -> None:
    for _ in range(n):
        run_replay(iris, coarse)

    # Session, user, count, rows.
    with django_assert_num_queries(4):
        assert "iris:2" in text_of(admin_client.get(URL))
