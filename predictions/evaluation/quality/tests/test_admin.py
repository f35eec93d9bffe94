"""The admin pages of quality and comparison."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from predictions.testing.rows import (
    NOON,
    REGRESSOR_SIGNATURE,
    TWO_OUTPUT_SIGNATURE,
    add_labels,
    add_values,
    classifier_signature,
    create_predictions,
    make_alias,
    make_version,
)
from registry.models import AliasShadow

WINDOW = "?from=2026-01-01&to=2026-02-01"
OUTCOMES = "/admin/predictions/outcome/"


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    page: str = response.content.decode()
    return page


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_the_quality_of_a_classifier_is_shown_with_charts(
    admin_client: Client, bucket: str
) -> None:
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


def test_a_page_with_charts_keeps_the_content_security_policy(admin_client: Client) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    add_values(create_predictions(version, [1.0, 2.0]), [0.0, 4.0])

    page = text_of(admin_client.get(f"{OUTCOMES}quality/{version.pk}/{WINDOW}"))

    assert '<script src="/static/predictions/charts.js" defer></script>' in page
    # Browsers do not run JSON.
    assert set(re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page)) == {
        '<script type="application/json">'
    }
    assert re.findall(r"<style|<[^>]+\s(?:style|on\w+)=", page) == []


def test_the_quality_of_a_regressor_is_shown(admin_client: Client) -> None:
    version = make_version(REGRESSOR_SIGNATURE)
    add_values(create_predictions(version, [1.0, 2.0]), [0.0, 4.0])

    page = text_of(admin_client.get(f"{OUTCOMES}quality/{version.pk}/{WINDOW}"))

    assert "Mean absolute error by day" in page
    assert "nan" not in page.replace("finance", "")


@pytest.mark.parametrize(
    ("signature", "query", "message"),
    [
        (REGRESSOR_SIGNATURE, "", "None of these rows has a known outcome yet"),
        (TWO_OUTPUT_SIGNATURE, "", "There are no quality figures: "),
        (None, "", "There are no quality figures: "),
        (REGRESSOR_SIGNATURE, "?from=x", "from: "),
        (REGRESSOR_SIGNATURE, "?from=2020-01-01&to=2026-01-01&bucket=hour", "bucket: "),
    ],
)
def test_a_page_without_figures_says_why(
    admin_client: Client, signature: Any, query: str, message: str
) -> None:
    version = make_version(signature)

    assert message in text_of(admin_client.get(f"{OUTCOMES}quality/{version.pk}/{query}"))


def test_a_comparison_is_shown_with_charts(admin_client: Client) -> None:
    champion, canary, shadow = (make_version(REGRESSOR_SIGNATURE, f"m{i}") for i in range(3))
    alias = make_alias(champion, canary=canary, canary_percent=10.0)
    AliasShadow.objects.create(alias=alias, version=shadow)
    rows = create_predictions(champion, [1.0, 2.0], alias="live", arm="primary", latency_ms=1.5)
    create_predictions(canary, [1.0, 2.0], alias="live", arm="canary", latency_ms=2.5)
    for row in rows:
        create_predictions(shadow, [1.0], alias="live", arm="shadow", primary=row, latency_ms=3.5)
    add_values(rows, [1.0, 1.0])

    page = text_of(admin_client.get(f"{OUTCOMES}comparison/wine/live/{WINDOW}"))

    for title in ("Failure rate", "Latency in milliseconds", "Agreement with", "Mean absolute"):
        assert f"<figcaption>{title}" in page
    assert "canary (10 %)" in page
    assert f"{OUTCOMES}comparison/wine/live/" in text_of(
        admin_client.get(f"/admin/registry/alias/{alias.pk}/change/")
    )


def test_an_empty_comparison_is_shown(admin_client: Client) -> None:
    make_alias(make_version(TWO_OUTPUT_SIGNATURE))

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
def test_an_unknown_page_answers_404(admin_client: Client, page: str) -> None:
    assert admin_client.get(f"{OUTCOMES}{page}/").status_code == 404


def test_the_figures_require_permission_to_view_outcomes_and_predictions(db: None) -> None:
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
