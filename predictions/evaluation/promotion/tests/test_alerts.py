"""Promotions that require that no alert is open."""

from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from predictions.evaluation.promotion import gate
from predictions.evaluation.promotion.requirements import InvalidRequirement, PromotionRefused
from predictions.models import Alert, Prediction
from predictions.testing.monitors import finding, make_alert, make_monitor, make_report
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import recorded_rows as recorded_rows
from predictions.testing.replays import run_replay
from registry.models import ModelVersion

REQUIRE = {"no_open_alerts": True}


def check(version: ModelVersion, require: Any = REQUIRE) -> None:
    gate.check(None, version.pk, require)


def judge(version: ModelVersion, **fields: Any) -> None:
    monitor = make_monitor(version)
    make_report(None, finding(None), monitor=monitor, version=version, **fields)


def test_a_version_that_no_monitor_has_judged_is_refused(iris: ModelVersion) -> None:
    with pytest.raises(PromotionRefused, match="No monitor has judged iris:1 yet"):
        check(iris)

    judge(iris, status="too_few_rows")
    with pytest.raises(PromotionRefused, match="No monitor has judged"):
        check(iris)

    judge(iris, day=1)
    check(iris)


def test_an_open_alert_is_refused_with_its_reason(iris: ModelVersion) -> None:
    judge(iris)
    alert = make_alert(iris, reason="x moved")
    Alert.objects.update(acknowledged_at=timezone.now())

    with pytest.raises(PromotionRefused, match=f"iris:1 has open alerts: {alert.pk}") as caught:
        check(iris)

    listed = [{"id": alert.pk, "severity": "warning", "reason": "x moved"}]
    assert caught.value.extensions["figures"] == {"open_alerts": listed}
    Alert.objects.update(closed_at=timezone.now())
    check(iris)


def test_values_of_inputs_are_not_in_the_refusal(iris: ModelVersion) -> None:
    judge(iris)
    found = finding(
        kind="new_categories", variable="input:city", effect="share_increase", value=0.0213
    )
    make_alert(
        iris,
        kind="new_categories",
        variable="input:city",
        reason="2.1 % of city have new categories: “Ada Lovelace” (21 rows)",
        finding=found,
    )

    with pytest.raises(PromotionRefused) as caught:
        check(iris)

    figures: Any = caught.value.extensions["figures"]
    [listed] = figures["open_alerts"]
    assert listed["reason"] == "new categories of city (share increase 0.0213)"


def test_alerts_of_other_versions_do_not_matter(iris: ModelVersion, coarse: ModelVersion) -> None:
    judge(coarse)
    make_alert(iris)

    check(coarse)


def test_many_alerts_are_not_all_listed(iris: ModelVersion) -> None:
    for number in range(12):
        make_alert(iris, variable=f"input:{number}")

    with pytest.raises(PromotionRefused, match="and more") as caught:
        check(iris)

    figures: Any = caught.value.extensions["figures"]
    assert len(figures["open_alerts"]) == 10


@pytest.mark.parametrize("value", [False, None, 1, "true", []])
def test_a_value_other_than_true_is_rejected(iris: ModelVersion, value: Any) -> None:
    with pytest.raises(InvalidRequirement) as caught:
        check(iris, {"no_open_alerts": value})

    assert list(caught.value.errors) == ["require.no_open_alerts"]


def test_both_requirements_must_be_met(
    iris: ModelVersion, coarse: ModelVersion, recorded_rows: list[Prediction]
) -> None:
    replay = run_replay(iris, coarse)
    require = {**REQUIRE, "replay": replay.pk, "min_agreement": 0.0}

    with pytest.raises(PromotionRefused, match="No monitor has judged"):
        gate.check(iris.pk, coarse.pk, require)
    judge(coarse)
    gate.check(iris.pk, coarse.pk, require)
    with pytest.raises(PromotionRefused, match="agrees on"):
        gate.check(iris.pk, coarse.pk, {**require, "min_agreement": 1.0})
    with pytest.raises(InvalidRequirement) as caught:
        gate.check(iris.pk, coarse.pk, {"no_open_alerts": 1, "replay": 0})
    assert set(caught.value.errors) == {
        "require.no_open_alerts",
        "require.replay",
        "require.min_agreement",
    }


def test_a_promotion_over_the_api_is_refused_with_the_alerts(
    admin_api: APIClient, iris: ModelVersion, coarse: ModelVersion
) -> None:
    url = "/api/v1/aliases/iris/champion/"
    assert admin_api.put(url, {"version": "1"}).status_code == 201
    judge(coarse)
    alert = make_alert(coarse)

    refused = admin_api.put(url, {"version": "2", "require": REQUIRE})

    assert refused.status_code == 409
    assert refused.json()["figures"]["open_alerts"][0]["id"] == alert.pk
    Alert.objects.update(closed_at=timezone.now())
    assert admin_api.put(url, {"version": "2", "require": REQUIRE}).status_code == 200
