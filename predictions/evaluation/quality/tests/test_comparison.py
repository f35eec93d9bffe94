"""The comparison of an alias's arms, checked with numpy on the same rows."""

from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from predictions.evaluation.agreement import labels_agree, values_agree
from predictions.evaluation.intervals import wilson_interval
from predictions.models import Prediction
from predictions.testing.rows import (
    REGRESSOR_SIGNATURE,
    TWO_OUTPUT_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_predictions,
    make_alias,
    make_version,
)
from registry.models import Alias, AliasShadow, ModelVersion
from registry.testing.clients import api_client

WINDOW = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"
URL = f"/api/v1/aliases/wine/live/comparison/?{WINDOW}"


def make_compared_alias(
    champion: ModelVersion, canary: ModelVersion | None = None, *shadows: ModelVersion
) -> Alias:
    share = {"canary": canary, "canary_percent": 10.0} if canary else {}
    alias = make_alias(champion, **share)
    for shadow in shadows:
        AliasShadow.objects.create(alias=alias, version=shadow)
    return alias


def create_arm_rows(
    version: ModelVersion, values: list[float], arm: str, **fields: Any
) -> list[Prediction]:
    return create_predictions(version, values, alias="live", arm=arm, **fields)


def versions(signature: Any, n: int) -> list[ModelVersion]:
    return [make_version(signature, name=f"wine{i}") for i in range(n)]


def interval(mean: float, variance: float) -> Any:
    half_width = 1.959964 * np.sqrt(variance)
    return pytest.approx([mean - half_width, mean + half_width], rel=1e-5)


def test_regressors_are_compared_with_intervals(client: APIClient, db: None) -> None:
    champion, canary, shadow = versions(REGRESSOR_SIGNATURE, 3)
    make_compared_alias(champion, canary, shadow)
    random = np.random.default_rng(0)
    values = 1e6 + random.standard_normal(200)
    answers = create_arm_rows(champion, values.tolist(), "primary")
    canary_values = 1e6 + 0.5 + random.standard_normal(50)
    create_arm_rows(canary, canary_values.tolist(), "canary")
    # Every other value is the same up to rounding.
    shadow_values = values * (1 + 1e-12) + np.tile([0.0, 0.25], 100)
    for row, value in zip(answers, shadow_values.tolist(), strict=True):
        create_arm_rows(shadow, [value], "shadow", primary=row)
    add_values(answers, (values - 1).tolist())

    body = client.get(URL).json()

    [shadow_figures] = body["shadows"]
    assert shadow_figures["agreement"] == {
        "compared": 200,
        "agreed": 100,
        "share": 0.5,
        "share_interval": list(wilson_interval(100, 200) or ()),
    }
    differences = shadow_values - values
    assert shadow_figures["difference"]["mean"] == pytest.approx(differences.mean(), rel=1e-6)
    assert shadow_figures["difference"]["mean_interval"] == interval(
        differences.mean(), differences.var(ddof=1) / 200
    )
    difference = body["canary"]["difference"]
    assert (difference["of"], difference["rows"]) == ("value", 50)
    assert difference["mean_interval"] == interval(
        canary_values.mean() - values.mean(),
        canary_values.var(ddof=1) / 50 + values.var(ddof=1) / 200,
    )
    assert body["champion"]["regression"]["mae"] == pytest.approx(1.0)
    assert shadow_figures["regression"]["mae"] == pytest.approx(1.125, rel=1e-4)
    assert body["canary"]["regression"] is None
    assert (body["champion"]["coverage"], body["canary"]["coverage"]) == (1.0, 0.0)


def test_values_near_zero_agree_by_the_same_rule_as_in_a_replay(
    client: APIClient, db: None
) -> None:
    champion, shadow = versions(REGRESSOR_SIGNATURE, 2)
    make_compared_alias(champion, None, shadow)
    values, shadow_values = [0.0, 1e-12, 1.0, 1e9], [1e-10, 0.0, 1.0 + 2e-9, 1e9 + 0.5]
    rows = create_arm_rows(champion, values, "primary")
    for row, value in zip(rows, shadow_values, strict=True):
        create_arm_rows(shadow, [value], "shadow", primary=row)

    [shadow_figures] = client.get(URL).json()["shadows"]

    assert (
        shadow_figures["agreement"]["agreed"] == sum(map(values_agree, values, shadow_values)) == 3
    )


def test_classifiers_agree_by_label_in_any_order_of_classes(client: APIClient, db: None) -> None:
    champion = make_version(classifier_signature(["a", "b"]), "one")
    shadow = make_version(classifier_signature(["b", "a"]), "two")
    make_compared_alias(champion, None, shadow)
    rows = create_arm_rows(champion, [0.0, 0.0, 1.0], "primary", confidence=0.5)
    for row, index in zip(rows, [1.0, 0.0, 0.0], strict=True):
        create_arm_rows(shadow, [index], "shadow", primary=row, confidence=0.75)
    add_labels(rows, ["a", "b", "b"])

    body = client.get(URL).json()

    [shadow_figures] = body["shadows"]
    assert (shadow_figures["agreement"]["compared"], shadow_figures["agreement"]["agreed"]) == (
        3,
        2,
    )
    assert (shadow_figures["difference"]["of"], shadow_figures["difference"]["mean"]) == (
        "confidence",
        0.25,
    )
    assert shadow_figures["classification"]["accuracy"] == 1.0
    assert body["champion"]["classification"]["accuracy"] == pytest.approx(2 / 3)
    assert body["canary"] is None


def test_equal_labels_of_different_types_agree_as_in_a_replay(client: APIClient, db: None) -> None:
    champion = make_version(classifier_signature([0, 1]), "one")
    shadow = make_version(classifier_signature([0.0, 1.0]), "two")
    make_compared_alias(champion, None, shadow)
    rows = create_arm_rows(champion, [0.0, 1.0], "primary")
    for row, index in zip(rows, [0.0, 0.0], strict=True):
        create_arm_rows(shadow, [index], "shadow", primary=row)

    [shadow_figures] = client.get(URL).json()["shadows"]

    assert shadow_figures["agreement"]["agreed"] == sum(map(labels_agree, [0, 1], [0.0, 0.0])) == 1


def test_arms_have_a_failure_rate_and_latency_quantiles(client: APIClient, db: None) -> None:
    [champion] = versions(REGRESSOR_SIGNATURE, 1)
    make_compared_alias(champion)
    latencies = np.random.default_rng(1).exponential(5, 30)
    for value in latencies.tolist():
        create_arm_rows(champion, [1.0], "primary", latency_ms=value)
    create_arm_rows(champion, [1.0], "primary", status="failed", error="no")

    arm = client.get(URL).json()["champion"]

    assert (arm["rows"], arm["failed"], arm["failure_rate"]) == (31, 1, 1 / 31)
    assert arm["failure_rate_interval"] == list(wilson_interval(1, 31) or ())
    assert list(arm["latency_ms"]) == ["p50", "p90", "p99"]
    assert list(arm["latency_ms"].values()) == pytest.approx(
        np.quantile(latencies, [0.5, 0.9, 0.99]).tolist(), rel=1e-12
    )


def test_only_rows_of_the_alias_and_arm_are_counted(client: APIClient, db: None) -> None:
    [champion] = versions(REGRESSOR_SIGNATURE, 1)
    make_compared_alias(champion)
    create_arm_rows(champion, [1.0], "primary")
    create_arm_rows(champion, [1.0], "canary")
    create_predictions(champion, [1.0], alias="other", arm="primary")
    create_predictions(champion, [1.0])

    assert client.get(URL).json()["champion"]["rows"] == 1


def test_without_rows_there_are_no_figures(client: APIClient, db: None) -> None:
    champion, canary, shadow = versions(REGRESSOR_SIGNATURE, 3)
    make_compared_alias(champion, canary, shadow)

    body = client.get(URL).json()

    for arm in (body["champion"], body["canary"], *body["shadows"]):
        assert (arm["rows"], arm["failure_rate"], arm["failure_rate_interval"]) == (0, None, None)
        assert set(arm["latency_ms"].values()) == {None}
    assert body["canary"]["difference"]["mean"] is None
    assert body["shadows"][0]["agreement"]["share"] is None


def test_versions_of_several_outputs_are_compared_without_quality(
    client: APIClient, db: None
) -> None:
    champion, shadow = versions(TWO_OUTPUT_SIGNATURE, 2)
    make_compared_alias(champion, None, shadow)
    [row] = create_predictions(champion, [1.0], prediction=None, alias="live", arm="primary")
    create_predictions(shadow, [1.0], prediction=None, alias="live", arm="shadow", primary=row)

    body = client.get(URL).json()

    assert (body["champion"]["rows"], body["champion"]["task"]) == (1, None)
    assert body["shadows"][0]["agreement"] is None


def test_values_too_large_to_square_are_left_out(client: APIClient, db: None) -> None:
    champion, shadow = versions(REGRESSOR_SIGNATURE, 2)
    make_compared_alias(champion, None, shadow)
    [row] = create_arm_rows(champion, [1.7e308], "primary")
    create_arm_rows(shadow, [-1.7e308], "shadow", primary=row)

    response = client.get(URL)

    assert response.status_code == 200
    assert response.json()["shadows"][0]["difference"]["mean"] is None


def test_an_unknown_alias_answers_404(client: APIClient, db: None) -> None:
    assert client.get(URL).status_code == 404
    assert client.get("/api/v1/aliases/a%00b/live/comparison/").status_code in (400, 404)


@pytest.mark.parametrize("query", ["from=x", "bucket=day", "from=2026-02-01&to=2026-01-01"])
def test_an_invalid_query_answers_400(client: APIClient, db: None, query: str) -> None:
    assert client.get(f"/api/v1/aliases/wine/live/comparison/?{query}").status_code == 400


def test_a_comparison_requires_a_token(db: None) -> None:
    assert api_client().get(URL).status_code == 401


def test_the_number_of_queries_does_not_depend_on_the_rows(client: APIClient, db: None) -> None:
    champion, shadow = versions(REGRESSOR_SIGNATURE, 2)
    make_compared_alias(champion, None, shadow)

    def count_statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(URL).status_code == 200
        return len(queries)

    for row in create_arm_rows(champion, [1.0] * 2, "primary"):
        create_arm_rows(shadow, [1.0], "shadow", primary=row)
    few = count_statements()
    for row in create_arm_rows(champion, [1.0] * 20, "primary"):
        create_arm_rows(shadow, [1.0], "shadow", primary=row)

    assert count_statements() == few
