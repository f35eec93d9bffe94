"""The pages of monitoring in the admin."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from predictions.models import Alert, CountedTo, Prediction, StaleHour
from predictions.testing.counting import churn, monitor
from predictions.testing.drifting import ROWS_A_DAY, drifting_version, store_counts
from predictions.testing.rows import NOON, add_labels
from registry.models import AuditEvent, ModelVersion
from registry.testing.clients import text_of

URL = "/admin/predictions/prediction/monitoring"
DAYS = "from=2026-01-01&to=2026-01-03"
SECOND_DAY = "from=2026-01-02&to=2026-01-03"
pytestmark = pytest.mark.django_db


def drawings_of(page: str) -> dict[str, dict[str, Any]]:
    """What the script draws, by the titles of the charts."""
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    drawings = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return dict(zip(titles, map(json.loads, drawings), strict=True))


def test_a_cell_leads_to_the_page_of_the_variable_on_that_day(admin_client: Client) -> None:
    version, _ = drifting_version()
    page = text_of(admin_client.get(f"{URL}/{version.pk}/?{DAYS}"))

    [link] = [link for link in links_of(page) if "age" in link and "to=2026-01-03" in link]
    shown = text_of(admin_client.get(link))

    assert f"{ROWS_A_DAY} rows from 2026-01-02 00:00 to 2026-01-03 00:00" in shown
    assert "age moved from a median of" in shown


def links_of(page: str) -> list[str]:
    links = re.findall(r'href="([^"]+)"', page)
    return [link for link in links if "/monitoring/" in link]


def test_a_number_has_histograms_and_courses(admin_client: Client) -> None:
    version, _ = drifting_version()

    page = text_of(
        admin_client.get(f"{URL}/{version.pk}/variable/?variable=input:age&{SECOND_DAY}")
    )
    drawings = drawings_of(page)
    [title] = [title for title in drawings if title.startswith("Values: share")]

    assert drawings[title]["axis"] == "bins"
    assert len(drawings[title]["positions"]) == len(drawings[title]["rows"]) + 1
    assert drawings[title]["rows"][-1].startswith("above ")
    medians = drawings["Quantiles by day"]["series"][2]["values"]
    assert medians[1] - medians[0] > 15
    assert drawings["Missing or outside of the range by day"]["rows"] == [
        "2026-01-01",
        "2026-01-02",
    ]


def test_a_category_has_bars_by_name(admin_client: Client) -> None:
    version, _ = drifting_version()

    page = text_of(
        admin_client.get(f"{URL}/{version.pk}/variable/?variable=input:plan&{SECOND_DAY}")
    )
    values = drawings_of(page)["Values"]

    assert sorted(values["rows"]) == ["free", "gold", "other categories", "silver"]
    assert values["series"][1]["values"][values["rows"].index("other categories")] == 1 / 3
    assert "platinum" in page


def test_the_rows_behind_a_bar_are_those_that_were_counted(admin_client: Client) -> None:
    version, _ = drifting_version()
    page = text_of(
        admin_client.get(f"{URL}/{version.pk}/variable/?variable=input:age&{SECOND_DAY}")
    )
    links = [link for link in links_of(page) if "/rows/" in link]
    [above] = [link for link in links if link.endswith("first=101&last=101")][:1]
    maximum = max(
        Prediction.objects.filter(created_at=NOON).values_list("input_data__age", flat=True),
        key=lambda age: age or 0.0,
    )

    shown = text_of(admin_client.get(above))

    listed = [int(pk) for pk in re.findall(r"/prediction/(\d+)/change/", shown)]
    ages = Prediction.objects.filter(pk__in=listed).values_list("input_data__age", flat=True)
    assert len(listed) >= 3
    assert maximum is not None
    assert min(age for age in ages if age) > maximum - 15
    assert parse_qs(urlsplit(above).query)["from"] == ["2026-01-02T00:00"]


def test_rows_are_paged_by_key_and_none_is_left_out(admin_client: Client) -> None:
    version, _ = drifting_version()
    url = f"{URL}/{version.pk}/rows/?variable=input:plan&first=0&last=51&{DAYS}"
    listed: list[str] = []

    while url:
        page = text_of(admin_client.get(url))
        listed += re.findall(r"/prediction/(\d+)/change/", page)
        url = next((link for link in links_of(page) if "before=" in link), "")

    assert len(listed) == len(set(listed)) == 2 * ROWS_A_DAY
    assert [int(pk) for pk in listed] == sorted((int(pk) for pk in listed), reverse=True)


def test_the_rows_are_read_of_the_audit_trail(admin_client: Client) -> None:
    version, _ = drifting_version(30)

    admin_client.get(f"{URL}/{version.pk}/rows/?variable=input:age&first=0&last=104&{SECOND_DAY}")

    event = AuditEvent.objects.get(action="predictions_read")
    assert event.target == "predictions behind a bar"
    assert event.details["rows"] == 30
    assert event.details["filters"]["variable"] == "input:age"


def test_segments_are_shown_side_by_side(admin_client: Client) -> None:
    version, reference = drifting_version()
    monitor(version, [{"arm": True}])
    Prediction.objects.filter(pk__in=Prediction.objects.values("pk")[:50]).update(arm="canary")
    store_counts(version, reference)

    url = f"{URL}/{version.pk}/variable/?variable=input:age&{DAYS}"
    page = text_of(admin_client.get(url))
    canary = text_of(admin_client.get(f"{url}&segment=arm%3Dcanary"))

    assert drawings_of(page)["Segments side by side"]["rows"] == [
        "reference",
        "all rows",
        "arm=canary",
        "arm=primary",
    ]
    assert '<option value="arm=canary">' in page
    assert "50 rows from" in canary
    assert "in the segment arm=canary" in canary


def test_estimated_and_measured_quality_are_shown(admin_client: Client) -> None:
    version, reference = drifting_version()
    rows = list(Prediction.objects.filter(created_at=NOON))
    add_labels(rows, [row.output["label"] for row in rows])

    page = text_of(admin_client.get(f"{URL}/{version.pk}/?{DAYS}"))
    drawing = drawings_of(page)["Estimated and measured accuracy"]

    baseline, estimated, measured = (series["values"] for series in drawing["series"])
    assert baseline == [reference.profile["quality"]["correct"] / 1000] * 2
    assert all(0.3 < value < 0.7 for value in estimated)
    assert measured == [1.0, None]


def test_open_alerts_are_shown_on_the_pages_and_on_the_index(admin_client: Client) -> None:
    version, _ = drifting_version(10)
    alert = make_alert(version)

    for url in (f"{URL}/{version.pk}/", "/admin/", "/admin/predictions/"):
        assert "age moved & moved" in text_of(admin_client.get(url))
    Alert.objects.filter(pk=alert.pk).update(closed_at=NOON)
    for url in (f"{URL}/{version.pk}/", "/admin/", "/admin/predictions/"):
        assert "age moved" not in text_of(admin_client.get(url))


def test_severe_alerts_come_first(admin_client: Client) -> None:
    version, _ = drifting_version(10)
    first = make_alert(version)
    Alert.objects.create(
        monitor=first.monitor,
        model=version,
        kind="latency",
        severity="warning",
        reason="it is slower",
        finding={},
        window_until=NOON,
    )

    for url in ("/admin/", f"{URL}/{version.pk}/"):
        page = text_of(admin_client.get(url))
        assert page.index("age moved") < page.index("it is slower")


def test_an_alert_leads_to_the_charts_of_its_variable(admin_client: Client) -> None:
    version, _ = drifting_version(10)
    alert = make_alert(version)
    Alert.objects.filter(pk=alert.pk).update(variable="input:plan", segment="feature:plan=gold")

    page = text_of(admin_client.get(f"{URL}/{version.pk}/"))
    window = "from=2025-12-31T12:00&to=2026-01-01T12:00"
    [link] = [link for link in links_of(page) if window in link]

    assert "in the segment feature:plan=gold" in text_of(admin_client.get(link))


def test_the_page_says_how_far_the_log_is_counted(admin_client: Client) -> None:
    version, _ = drifting_version(10)
    url = f"{URL}/{version.pk}/"
    StaleHour.objects.create(model=version, hour=NOON)

    assert "1 hour of this version must still be counted" in text_of(admin_client.get(url))
    StaleHour.objects.all().delete()
    CountedTo.objects.update_or_create(pk=1, defaults={"reached_at": NOON})
    page = text_of(admin_client.get(url))

    assert "The log is counted up to 2026-01-01 12:00 UTC." in page


def make_alert(version: ModelVersion) -> Alert:
    return Alert.objects.create(
        monitor=monitor(version, []),
        model=version,
        kind="input_drift",
        severity="severe",
        reason="age moved & moved",
        finding={},
        window_until=NOON,
    )


def test_each_page_needs_the_permission_for_what_it_shows(db: None) -> None:
    version, _ = drifting_version(10)
    make_alert(version)
    user = User.objects.create_user("eve", is_staff=True)
    browser = Client()
    browser.force_login(user)
    pages = ["", "variable/?variable=input:age", "rows/?variable=input:age&first=0&last=1"]

    for page in pages:
        assert browser.get(f"{URL}/{version.pk}/{page}").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_prediction"))
    for page in pages:
        assert browser.get(f"{URL}/{version.pk}/{page}").status_code == 200
    assert "age moved" not in text_of(browser.get("/admin/"))
    assert "age moved" not in text_of(browser.get(f"{URL}/{version.pk}/"))
    user.user_permissions.add(Permission.objects.get(codename="view_alert"))
    assert "age moved" in text_of(browser.get("/admin/"))


def test_measured_quality_needs_the_permission_to_view_outcomes(db: None) -> None:
    version, _ = drifting_version()
    rows = list(Prediction.objects.filter(created_at=NOON))
    add_labels(rows, [row.output["label"] for row in rows])
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_prediction"))
    browser = Client()
    browser.force_login(user)

    page = text_of(browser.get(f"{URL}/{version.pk}/?{DAYS}"))

    measured = drawings_of(page)["Estimated and measured accuracy"]["series"][2]
    assert measured["values"] == [None, None]


def test_a_version_without_a_reference_says_so(admin_client: Client) -> None:
    version = churn()

    assert "has no reference yet" in text_of(admin_client.get(f"{URL}/{version.pk}/"))
    assert admin_client.get(f"{URL}/{version.pk}/variable/?variable=input:age").status_code == 404
    link = f'href="{URL}/{version.pk}/"'
    assert link in text_of(admin_client.get("/admin/registry/modelversion/"))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("?from=x", "from: "),
        ("?from=2026-01-01&to=2026-06-01", "from: Must be at most 92 days"),
        ("variable/", "variable: This field is required"),
        ("rows/?variable=input:age&first=3&last=1", "first: Must not be greater"),
        ("rows/?variable=input:age&first=0&last=9&before=x", "before: "),
    ],
)
def test_a_wrong_parameter_is_named(admin_client: Client, page: str, message: str) -> None:
    version, _ = drifting_version(10)

    assert message in text_of(admin_client.get(f"{URL}/{version.pk}/{page}"))


@pytest.mark.parametrize("page", ["99/", "{pk}/variable/?variable=nothing"])
def test_what_does_not_exist_answers_404(admin_client: Client, page: str) -> None:
    version, _ = drifting_version(10)

    assert admin_client.get(f"{URL}/{page.format(pk=version.pk)}").status_code == 404


def test_the_pages_keep_the_content_security_policy(admin_client: Client) -> None:
    version, _ = drifting_version()
    pages = ["", "variable/?variable=input:age", "rows/?variable=input:age&first=0&last=104"]

    for page in pages:
        shown = text_of(admin_client.get(f"{URL}/{version.pk}/{page}"))
        assert re.findall(r"<style|<[^>]+\s(?:style|on\w+)=", shown) == []
        inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", shown)
        assert set(inline) <= {'<script type="application/json">'}
