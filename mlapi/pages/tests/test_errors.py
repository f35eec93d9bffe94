"""Below /admin, a browser gets errors as pages; everybody else gets problem documents."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError
from django.test import Client

from registry.testing.clients import PASSWORD

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
MISSING = "/admin/nothing/"
USERS = "/admin/auth/user/"


@pytest.fixture
def browser(db: None) -> Client:
    client = Client(raise_request_exception=False, headers={"Accept": HTML})
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    return client


def is_admin_page(response: Any) -> bool:
    content = response.content.decode()
    return (
        response["Content-Type"] == "text/html; charset=utf-8"
        and 'href="/static/admin/css/base.css"' in content
        and response["X-Request-ID"] in content
    )


def test_unknown_page_of_the_admin_is_a_page(browser: Client) -> None:
    response = browser.get(MISSING)

    assert response.status_code == 404
    assert is_admin_page(response)
    assert f"There is nothing at {MISSING}" in response.content.decode()


def test_what_the_path_says_is_escaped(browser: Client) -> None:
    content = browser.get("/admin/<script>alert(1)</script>/").content.decode()

    assert "<script>alert" not in content


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, */*"])
def test_other_clients_get_a_problem_document(browser: Client, accept: str | None) -> None:
    headers = {"Accept": accept or ""}

    response = browser.get(MISSING, headers=headers)

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nothing", "/administrator"])
def test_a_browser_gets_a_problem_document_outside_the_admin(browser: Client, path: str) -> None:
    response = browser.get(path)

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


def test_lock_out_of_the_admin_is_a_page(browser: Client) -> None:
    browser.logout()
    for _ in range(5):
        response = browser.post("/admin/login/", {"username": "root", "password": "wrong"})

    assert response.status_code == 429
    assert is_admin_page(response)
    assert "Try again in 15 minutes" in response.content.decode()
    assert response["Retry-After"] == "900"


def test_failed_csrf_check_of_the_admin_is_a_page() -> None:
    client = Client(enforce_csrf_checks=True, headers={"Accept": HTML})

    response = client.post("/admin/login/", {"username": "root", "password": "x"})

    assert response.status_code == 403
    assert is_admin_page(response)
    assert "send the form again" in response.content.decode()


def test_missing_permission_is_a_page(browser: Client) -> None:
    browser.force_login(User.objects.create_user("staff", password=PASSWORD, is_staff=True))

    response = browser.get(USERS)

    assert response.status_code == 403
    assert is_admin_page(response)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SuspiciousOperation("x"), 400),
        (OperationalError("x"), 503),
        (RuntimeError("hidden"), 500),
    ],
)
def test_failures_of_the_admin_are_pages_that_hide_the_cause(
    browser: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*args: object, **kwargs: object) -> object:
        raise error

    monkeypatch.setattr("django.contrib.auth.admin.UserAdmin.get_queryset", fail)

    response = browser.get(USERS)

    assert response.status_code == status
    assert is_admin_page(response)
    assert "hidden" not in response.content.decode()


def test_a_page_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    # This test has no database: reading the session would fail.
    def fail(*args: object) -> None:
        raise OperationalError("the database is down")

    monkeypatch.setattr("mlapi.middleware.AdminSessionMiddleware.process_request", fail)
    client = Client(raise_request_exception=False, headers={"Accept": HTML})

    response = client.get("/admin/")

    assert response.status_code == 503
    assert is_admin_page(response)


def test_host_that_is_not_allowed_is_a_page(client: Any) -> None:
    response = Client().get("/admin/", headers={"Accept": HTML, "Host": "evil.example.com"})

    assert response.status_code == 400
    assert is_admin_page(response)
