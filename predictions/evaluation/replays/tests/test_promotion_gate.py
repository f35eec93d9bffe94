"""A promotion that demands a replay."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from predictions.evaluation.replays import promotion_gate, replay
from predictions.models import Prediction
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded as recorded
from predictions.testing.replays import replayed
from registry.models import ModelVersion


def gate(from_version: ModelVersion | None, to_version: ModelVersion, require: Any) -> None:
    from_id = from_version.pk if from_version else None
    promotion_gate.check(from_version_id=from_id, to_version_id=to_version.pk, require=require)


def test_the_gate_lets_pass_what_agrees_often_enough(
    iris: ModelVersion, coarse: ModelVersion, recorded: list[Prediction]
) -> None:
    row = replayed(iris, coarse)
    assert row.report is not None
    agreement = row.report["agreement"]

    gate(iris, coarse, {"replay": row.pk, "min_agreement": agreement})
    gate(None, coarse, {"replay": row.pk, "min_agreement": 0})
    with pytest.raises(promotion_gate.PromotionRefused) as caught:
        gate(iris, coarse, {"replay": row.pk, "min_agreement": agreement + 1e-9})

    figures = caught.value.extensions["figures"]
    assert (figures["agreement"], figures["rows"]) == (agreement, 15)
    assert figures["min_agreement"] == agreement + 1e-9
    assert f"agrees on {row.report['agreed']} of 15 rows" in str(caught.value)


def test_the_gate_refuses_a_replay_of_something_else(
    iris: ModelVersion, coarse: ModelVersion, recorded: list[Prediction]
) -> None:
    done, empty = replayed(iris, coarse), replayed(coarse, iris)
    begun = replay.start(replay.Plan(from_version=iris, to_version=coarse))

    for from_version, to_version, replay_id, said in (
        (iris, coarse, 12345, "Replay 12345 not found"),
        (coarse, iris, done.pk, "tried iris:2, not this version"),
        (coarse, coarse, done.pk, "compared with iris:1, which is not live"),
        (iris, coarse, begun.pk, "is not completed: 0 of 15 rows, running"),
        (coarse, iris, empty.pk, "had no rows to compare"),
    ):
        with pytest.raises(promotion_gate.PromotionRefused, match=said):
            gate(from_version, to_version, {"replay": replay_id, "min_agreement": 0.0})


def test_a_promotion_that_falls_short_is_refused_with_the_figures(
    admin_api: APIClient, iris: ModelVersion, coarse: ModelVersion, recorded: list[Prediction]
) -> None:
    url = "/api/v1/aliases/iris/champion/"
    assert admin_api.put(url, {"version": "1"}).status_code == 201
    row = replayed(iris, coarse)
    assert row.report is not None
    demand = {"replay": row.pk, "min_agreement": 0.99}

    refused = admin_api.put(url, {"version": "2", "require": demand})
    wrong = admin_api.put(url, {"version": "2", "require": {**demand, "rows": 1}})

    assert (refused.status_code, wrong.status_code) == (409, 400)
    assert refused.json()["figures"]["agreement"] == row.report["agreement"]
    assert refused.json()["figures"]["rows"] == 15
    assert wrong.json()["errors"] == {"require.rows": ["Unknown field."]}
    assert admin_api.get(url).json()["version"] == "1"
    demand["min_agreement"] = 0.5
    assert admin_api.put(url, {"version": "2", "require": demand}).status_code == 200


@pytest.mark.parametrize(
    ("require", "path"),
    [
        ([], "require"),
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
def test_a_requirement_that_makes_no_sense_is_refused(
    iris: ModelVersion, require: Any, path: str
) -> None:
    with pytest.raises(promotion_gate.InvalidRequirement) as caught:
        gate(iris, iris, require)

    assert list(caught.value.errors) == [path]
