"""Every response has a Content-Security-Policy, and no page needs more than it allows."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from registry.models import ModelVersion
from registry.testing.clients import PASSWORD

HEADER = "Content-Security-Policy"
API_PATHS = [
    "/api/v1/models/",
    "/api/schema/",
    "/health/live/",
    "/metrics",
    "/v2",
    "/nowhere",
    "/static/admin/css/base.css",
    "/api/docs/?script=",
]
PAGES = [
    "/admin/",
    "/admin/login/",
    "/admin/password_change/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/registry/modelversion/",
    "/admin/registry/modelversion/add/",
    "/admin/registry/alias/",
    "/admin/registry/alias/add/",
    "/admin/registry/aliasmove/",
    "/admin/predictions/",
    "/admin/predictions/prediction/",
    "/admin/predictions/outcome/",
    "/admin/predictions/replay/",
    "/admin/axes/accessattempt/",
    "/admin/nothing/",
    "/api/docs/",
    "/api/redoc/",
]
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def browser(db: None) -> Client:
    client = Client(raise_request_exception=False, headers=HTML)
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    return client


def directives(response: Any) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response[HEADER].split(";"))
    return {name: sources for name, _, sources in parts}


@pytest.mark.parametrize("path", API_PATHS)
def test_what_is_no_page_may_load_nothing(browser: Client, path: str) -> None:
    response = browser.get(path)
    response.close()  # a static file stays open until then

    assert response[HEADER] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_scripts_from_files_of_this_host_alone(browser: Client, path: str) -> None:
    response = browser.get(path)

    assert response["Content-Type"].startswith("text/html")
    policy = directives(response)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    if path != "/api/redoc/":
        assert policy["style-src"] == "'self'"


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_nothing_inline(browser: Client, path: str) -> None:
    if path == "/admin/login/":
        browser.logout()
    page = browser.get(path).content.decode()

    assert "<script" in page
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|<[^>]+\s(?:style|on\w+)=", page) == []
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []


def test_pages_of_rows_have_nothing_inline(browser: Client) -> None:
    version = ModelVersion.objects.create(name="m", version="1", framework="sklearn")

    page = browser.get(f"/admin/registry/modelversion/{version.pk}/change/").content.decode()

    assert re.findall(r"<style|<[^>]+\s(?:style|on\w+)=|<script(?![^>]*\bsrc=)", page) == []


def test_other_security_headers_stay(browser: Client) -> None:
    response = browser.get("/api/docs/")

    names = (
        "X-Content-Type-Options",
        "Referrer-Policy",
        "Cross-Origin-Opener-Policy",
        "X-Frame-Options",
    )
    assert [response[name] for name in names] == ["nosniff", "same-origin", "same-origin", "DENY"]


def test_errors_of_the_outer_middleware_have_a_policy(client: Any) -> None:
    response = client.generic("POST", "/api/v1/auth/token/", HTTP_TRANSFER_ENCODING="chunked")

    assert response.status_code == 411
    assert response[HEADER].startswith("default-src 'none'")
