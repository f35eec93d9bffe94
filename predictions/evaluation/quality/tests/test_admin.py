"""The admin's pages of outcomes, quality and comparison."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from predictions.evaluation import charts
from predictions.evaluation.charts import Mark
from predictions.models import Outcome
from predictions.testing.rows import (
    NOON,
    REGRESSOR_SIGNATURE,
    TWO_OUTPUT_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_predictions,
    make_version,
)
from registry.models import Alias, AliasShadow

WINDOW = "?from=2026-01-01&to=2026-02-01"
OUTCOMES = "/admin/predictions/outcome/"


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def test_outcomes_are_listed_without_being_counted(admin_client: Client) -> None:
    version = make_version(classifier_signature(["<b>a</b>", "b"]))
    add_labels(create_predictions(version, [0.0] * 3), ["<b>a</b>"] * 3)

    with CaptureQueriesContext(connection) as queries:
        page = text_of(admin_client.get(OUTCOMES))

    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert not [q["sql"] for q in queries if "COUNT" in q["sql"] and "LIMIT" not in q["sql"]]
    assert len([q for q in queries if "outcomes" in q["sql"]]) == 2


def test_an_outcome_is_shown_and_not_changed(admin_client: Client) -> None:
    add_values(create_predictions(make_version(REGRESSOR_SIGNATURE), [1.0]), [2.5])
    pk = Outcome.objects.get().pk

    page = text_of(admin_client.get(f"{OUTCOMES}{pk}/change/"))

    assert "2.5" in page
    assert "_save" not in page
    assert admin_client.post(f"{OUTCOMES}{pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_a_classifiers_quality_is_shown_with_charts(admin_client: Client, bucket: str) -> None:
    version = make_version(classifier_signature(["<a>", "b"]))
    for day in range(3):
        at = NOON + timedelta(days=day)
        rows = create_predictions(version, [0.0, 1.0], confidence=0.75, created_at=at)
        add_labels(rows, ["<a>", "<a>"])

    page = text_of(admin_client.get(f"{OUTCOMES}quality/{version.pk}/{WINDOW}&bucket={bucket}"))

    assert page.count('<figure class="chart">') == 2
    assert "Accuracy by" in page
    assert "&lt;a&gt;" in page
    assert "<a>" not in page


def test_a_regressors_quality_is_shown(admin_client: Client) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    add_values(create_predictions(version, [1.0, 2.0]), [0.0, 4.0])

    page = text_of(admin_client.get(f"{OUTCOMES}quality/{version.pk}/{WINDOW}"))

    assert "Mean absolute error by day" in page
    assert "nan" not in page.replace("finance", "")


@pytest.mark.parametrize(
    ("signature", "query", "said"),
    [
        (REGRESSOR_SIGNATURE, "", "No row of these has a known outcome yet"),
        (TWO_OUTPUT_SIGNATURE, "", "there is no quality to tell"),
        (None, "", "there is no quality to tell"),
        (REGRESSOR_SIGNATURE, "?from=x", "from: "),
        (REGRESSOR_SIGNATURE, "?from=2020-01-01&to=2026-01-01&bucket=hour", "bucket: "),
    ],
)
def test_what_can_not_be_shown_is_said(
    admin_client: Client, signature: Any, query: str, said: str
) -> None:
    version = make_version(signature)

    assert said in text_of(admin_client.get(f"{OUTCOMES}quality/{version.pk}/{query}"))


def test_a_comparison_is_shown_with_charts(admin_client: Client) -> None:
    champion, canary, shadow = (make_version(REGRESSOR_SIGNATURE, f"m{i}") for i in range(3))
    alias = Alias.objects.create(
        name="wine", alias="live", version=champion, canary=canary, canary_percent=10.0
    )
    AliasShadow.objects.create(alias=alias, version=shadow)
    rows = create_predictions(champion, [1.0, 2.0], alias="live", arm="primary", latency_ms=1.5)
    create_predictions(canary, [1.0, 2.0], alias="live", arm="canary", latency_ms=2.5)
    for row in rows:
        create_predictions(shadow, [1.0], alias="live", arm="shadow", primary=row, latency_ms=3.5)
    add_values(rows, [1.0, 1.0])

    page = text_of(admin_client.get(f"{OUTCOMES}comparison/wine/live/{WINDOW}"))

    for title in ("Failure rate", "Latency in milliseconds", "Agreement with", "Mean absolute"):
        assert f"<figcaption>{title}" in page
    assert "canary for 10 %" in page
    assert f"{OUTCOMES}comparison/wine/live/" in text_of(
        admin_client.get(f"/admin/registry/alias/{alias.pk}/change/")
    )


def test_an_empty_comparison_is_shown(admin_client: Client) -> None:
    Alias.objects.create(name="wine", alias="live", version=make_version(TWO_OUTPUT_SIGNATURE))

    assert "<figcaption>" not in text_of(admin_client.get(f"{OUTCOMES}comparison/wine/live/"))


def test_the_pages_are_linked_from_versions_and_their_predictions(admin_client: Client) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    link = f'href="{OUTCOMES}quality/{version.pk}/"'

    assert link in text_of(admin_client.get("/admin/registry/modelversion/"))
    assert link in text_of(
        admin_client.get(f"/admin/predictions/prediction/?model__id__exact={version.pk}")
    )
    assert "Quality" not in text_of(admin_client.get("/admin/predictions/prediction/"))


@pytest.mark.parametrize("page", ["quality/99", "comparison/no/body", "comparison/a%20b/c"])
def test_an_unknown_page_is_404(admin_client: Client, page: str) -> None:
    assert admin_client.get(f"{OUTCOMES}{page}/").status_code == 404


def test_whoever_may_not_look_at_predictions_sees_no_figures(db: None) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    user = User.objects.create_user("eve", is_staff=True)
    browser = Client()
    url = f"{OUTCOMES}quality/{version.pk}/"

    assert browser.get(url).status_code == 302
    browser.force_login(user)
    assert browser.get(url).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_outcome"))
    assert browser.get(url).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_prediction"))
    assert browser.get(url).status_code == 200


@pytest.mark.parametrize(
    "values", [[0.0], [1e-300, 1e300], [5.0, 5.0], [0.0, 5e-324], [-1e6, 1e6], [None, 1.0]]
)
def test_charts_are_drawn_of_any_figures(values: list[float | None]) -> None:
    marks = [Mark("<x>", value, None if value is None else (value, value)) for value in values]

    for chart in (charts.series("t", marks), charts.intervals("t", marks)):
        assert "nan" not in chart
        assert "<x>" not in chart


def test_a_long_name_is_cut_in_its_middle() -> None:
    chart = charts.intervals("t", [Mark(f"{'v' * 50} (canary) p99", 1.0)])

    assert ">vvvvvvvv… (canary) p99<" in chart
