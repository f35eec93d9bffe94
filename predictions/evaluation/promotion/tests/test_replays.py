"""Promotions that require a replay."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from predictions.evaluation.promotion import gate
from predictions.evaluation.promotion.requirements import InvalidRequirement, PromotionRefused
from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import Plan
from predictions.models import Prediction
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded_rows as recorded_rows
from predictions.testing.replays import run_replay
from registry.models import ModelVersion


def check(from_version: ModelVersion | None, to_version: ModelVersion, require: Any) -> None:
    from_id = from_version.pk if from_version else None
    gate.check(from_version_id=from_id, to_version_id=to_version.pk, require=require)


def test_enough_agreement_passes_and_less_is_refused(
    iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    replay = run_replay(iris, coarse)
    assert replay.report is not None
    agreement = replay.report["agreement"]

    check(iris, coarse, {"replay": replay.pk, "min_agreement": agreement})
    check(None, coarse, {"replay": replay.pk, "min_agreement": 0})
    with pytest.raises(PromotionRefused) as caught:
        check(iris, coarse, {"replay": replay.pk, "min_agreement": agreement + 1e-9})

    figures = caught.value.extensions["figures"]
    assert (figures["agreement"], figures["rows"]) == (agreement, 15)
    assert figures["min_agreement"] == agreement + 1e-9
    assert f"agrees on {replay.report['agreed']} of 15 rows" in str(caught.value)


def test_a_replay_that_does_not_fit_is_refused(
    iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    completed, without_rows = run_replay(iris, coarse), run_replay(coarse, iris)
    started = runner.start(Plan(from_version=iris, to_version=coarse))

    for from_version, to_version, replay_id, message in (
        (iris, coarse, 12345, "Replay 12345 not found"),
        (coarse, iris, completed.pk, "tested iris:2, not the version to promote"),
        (coarse, coarse, completed.pk, "compared with iris:1, which is not live"),
        (iris, coarse, started.pk, "is not completed: 0 of 15 rows, running"),
        (coarse, iris, without_rows.pk, "had no rows to compare"),
    ):
        with pytest.raises(PromotionRefused, match=message):
            check(from_version, to_version, {"replay": replay_id, "min_agreement": 0.0})


def test_a_promotion_with_too_little_agreement_is_refused_with_the_figures(
    admin_api: APIClient, iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    url = "/api/v1/aliases/iris/champion/"
    assert admin_api.put(url, {"version": "1"}).status_code == 201
    replay = run_replay(iris, coarse)
    assert replay.report is not None
    requirement = {"replay": replay.pk, "min_agreement": 0.99}

    refused = admin_api.put(url, {"version": "2", "require": requirement})
    malformed = admin_api.put(url, {"version": "2", "require": {**requirement, "rows": 1}})

    assert (refused.status_code, malformed.status_code) == (409, 400)
    assert refused.json()["figures"]["agreement"] == replay.report["agreement"]
    assert refused.json()["figures"]["rows"] == 15
    assert malformed.json()["errors"] == {"require.rows": ["Unknown field."]}
    assert admin_api.get(url).json()["version"] == "1"
    requirement["min_agreement"] = 0.5
    accepted = admin_api.put(url, {"version": "2", "require": requirement})
    assert accepted.status_code == 200, accepted.content


@pytest.mark.parametrize(
    ("require", "path"),
    [
        ([], "require"),
        ({}, "require"),
        (None, "require"),
        ({"replay": 1}, "require.min_agreement"),
        ({"min_agreement": 1}, "require.replay"),
        ({"replay": "1", "min_agreement": 1}, "require.replay"),
        ({"replay": True, "min_agreement": 1}, "require.replay"),
        ({"replay": 0, "min_agreement": 1}, "require.replay"),
        ({"replay": 2**63, "min_agreement": 1}, "require.replay"),
        ({"replay": 1.0, "min_agreement": 1}, "require.replay"),
        ({"replay": 1, "min_agreement": "0.9"}, "require.min_agreement"),
        ({"replay": 1, "min_agreement": 1.01}, "require.min_agreement"),
        ({"replay": 1, "min_agreement": -0.1}, "require.min_agreement"),
        ({"replay": 1, "min_agreement": True}, "require.min_agreement"),
        ({"replay": 1, "min_agreement": float("nan")}, "require.min_agreement"),
        ({"replay": 1, "min_agreement": 1, "rows": 5}, "require.rows"),
    ],
)
def test_a_malformed_requirement_is_rejected(iris: ModelVersion, require: Any, path: str) -> None:
    with pytest.raises(InvalidRequirement) as caught:
        check(iris, iris, require)

    assert list(caught.value.errors) == [path]
