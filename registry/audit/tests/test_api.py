"""The audit trail over the API, in the admin and as a file."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from registry import services
from registry.access import audit
from registry.access.accessor import Accessor
from registry.models import ApiKey, AuditEvent, ModelVersion
from registry.testing.clients import api_client, text_of

URL = "/api/v1/audit-events/"
ADMIN = "/admin/registry/auditevent/"
Action = AuditEvent.Action


@pytest.fixture
def events(manager: User, user: User) -> list[AuditEvent]:
    """Three events, the newest last."""
    audit.record(Action.LOGGED_IN, Accessor(user, None, "r-1"), target="token")
    audit.record(Action.VERSION_CHANGED, Accessor(manager), model="m", target="m:1")
    audit.record(Action.ALIAS_MOVED, Accessor(manager, None, "r-2"), model="m", target="m@c")
    return list(AuditEvent.objects.order_by("id"))


def targets(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["target"] for row in response.json()]


def test_events_are_listed_newest_first(
    admin_api: APIClient, manager: User, events: list[AuditEvent]
) -> None:
    response = admin_api.get(URL)

    assert targets(response) == ["m@c", "m:1", "token"]
    newest = response.json()[0]
    assert newest.pop("created_at")
    assert newest == {
        "id": events[2].pk,
        "action": "alias_moved",
        "user": "grace",
        "user_id": manager.pk,
        "api_key": None,
        "model": "m",
        "target": "m@c",
        "details": {},
        "request_id": "r-2",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=logged_in", ["token"]),
        ("action=erased", []),
        ("user=grace", ["m@c", "m:1"]),
        ("user=nobody", []),
        ("model=m", ["m@c", "m:1"]),
        ("request_id=r-1", ["token"]),
        ("user=grace&action=alias_moved", ["m@c"]),
        ("created_after=2000-01-01", ["m@c", "m:1", "token"]),
        ("created_before=2000-01-01", []),
        ("limit=1", ["m@c"]),
    ],
)
def test_events_are_filtered(
    admin_api: APIClient, events: list[AuditEvent], query: str, expected: list[str]
) -> None:
    assert targets(admin_api.get(f"{URL}?{query}")) == expected


@pytest.mark.parametrize("query", ["action=zzz", "created_after=zzz", "target=m", "user="])
def test_a_malformed_filter_is_named(admin_api: APIClient, db: None, query: str) -> None:
    response = admin_api.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("n", [1, 20])
def test_the_list_takes_one_query_besides_the_users(
    admin_api: APIClient, manager: User, django_assert_num_queries: Any, n: int
) -> None:
    for _ in range(n):
        audit.record(Action.LOGGED_IN, Accessor(manager))
    admin_api.get(URL)

    # The user, two for the user's permissions, and the page.
    with django_assert_num_queries(4):
        assert len(targets(admin_api.get(URL))) == n


def test_the_audit_trail_is_for_those_with_the_permission(client: APIClient, user: User) -> None:
    assert client.get(URL).status_code == 403
    assert api_client().get(URL).status_code == 401
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)(URL).status_code in (403, 405)


def test_an_api_key_cannot_read_the_audit_trail(manager: User) -> None:
    key = ApiKey.objects.create(name="k", owner=manager, prefix="p", digest="d")
    machine = APIClient()
    machine.force_authenticate(manager, cast(Any, key))

    assert machine.get(URL).status_code == 403


def test_what_happens_to_a_version_is_recorded(admin_api: APIClient, manager: User) -> None:
    def post(path: str, **body: Any) -> Any:
        return admin_api.post(f"/api/v1/{path}", body, headers={"X-Request-ID": "r-3"})

    pk = post("models/", name="m", framework="sklearn").json()["id"]
    admin_api.patch(f"/api/v1/models/{pk}/", {"description": "new", "tags": {"a": 1}})
    assert admin_api.delete(f"/api/v1/models/{pk}/").status_code == 204

    registered, changed, deleted = AuditEvent.objects.order_by("id")
    assert (registered.action, registered.user, registered.model, registered.target) == (
        "version_registered",
        manager,
        "m",
        "m:1",
    )
    assert registered.request_id == "r-3"
    assert changed.details == {"model_id": pk, "changed": ["description", "tags"]}
    assert (deleted.action, deleted.target) == ("version_deleted", "m:1")


def test_a_move_of_an_alias_is_recorded(admin_api: APIClient, iris: ModelVersion) -> None:
    body = {"version": "1", "reason": "tried"}
    assert admin_api.put("/api/v1/aliases/iris/best/", body).status_code == 201

    [event] = AuditEvent.objects.filter(action="alias_moved")
    assert event.target == "iris@best"
    assert event.details == {
        "move": 1,
        "action": "set",
        "from": "",
        "to": "1",
        "reason": "tried",
    }


@pytest.mark.django_db
def test_a_change_that_is_not_made_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **named: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(ModelVersion, "delete", fail)
    version = ModelVersion.objects.create(name="m", version="1", framework="sklearn")

    with pytest.raises(RuntimeError):
        services.delete_version(model_id=version.pk)

    assert not AuditEvent.objects.exists()


# -- the admin


def test_the_admin_shows_events_and_changes_none(
    admin_client: Client, events: list[AuditEvent]
) -> None:
    page = f"{ADMIN}{events[-2].pk}/change/"

    assert "m:1" in text_of(admin_client.get(page))
    assert "m@c" in text_of(admin_client.get(ADMIN))
    assert admin_client.get(f"{ADMIN}add/").status_code == 403
    assert admin_client.post(page, {"target": "x"}).status_code == 403
    assert admin_client.post(f"{ADMIN}{events[-2].pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("user:grace action:alias_moved", ["m@c"]),
        ("model:m", ["m@c", "m:1"]),
        ("", ["m@c", "m:1", "token"]),
        ("nonsense", []),
        ("action:zzz", []),
        ('user:"', []),
    ],
)
def test_the_admin_searches_by_the_filters_of_the_api(
    admin_client: Client, events: list[AuditEvent], search: str, expected: list[str]
) -> None:
    response = admin_client.get(ADMIN, {"q": search})

    shown = [row.target for row in response.context["cl"].result_list]
    assert [target for target in shown if target != "admin"] == expected
    is_refused = search in ("nonsense", "action:zzz", 'user:"')
    assert ('class="error"' in text_of(response)) == is_refused


# -- the file


def export(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr("registry.audit.export.timezone.now", lambda: later)
    errors = io.StringIO()
    call_command("export_audit", *arguments, stderr=errors)
    return errors.getvalue()


def test_events_are_exported_and_the_export_goes_on(
    events: list[AuditEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = export(monkeypatch, str(tmp_path / "a"))
    audit.record(Action.ERASED, target="later")
    last_id = summary.rstrip().rpartition(" ")[2]
    export(monkeypatch, str(tmp_path / "b"), "--after", last_id)

    assert "3 events" in summary
    lines = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert [line["id"] for line in lines] == [event.pk for event in events]
    assert json.loads((tmp_path / "b").read_text())["target"] == "later"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_events_that_are_not_settled_are_left_for_the_next_export(
    events: list[AuditEvent], tmp_path: Path
) -> None:
    call_command("export_audit", str(tmp_path / "a"), stderr=io.StringIO())

    assert (tmp_path / "a").read_text() == ""


def test_an_event_that_is_not_settled_is_not_passed_over(
    events: list[AuditEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the machine that wrote it may be ahead of the next one's."""
    ahead = timezone.now() + timedelta(hours=2)
    AuditEvent.objects.create(action=Action.ERASED, created_at=ahead)
    audit.record(Action.ERASED, target="later")

    export(monkeypatch, str(tmp_path / "a"))

    lines = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert [line["id"] for line in lines] == [event.pk for event in events]


def test_an_export_replaces_no_file(db: None, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("kept")

    with pytest.raises(CommandError, match="exists already"):
        call_command("export_audit", str(tmp_path / "a"))
    with pytest.raises(CommandError, match="No such file"):
        call_command("export_audit", str(tmp_path / "none" / "a"))

    assert (tmp_path / "a").read_text() == "kept"
