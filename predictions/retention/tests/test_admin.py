"""Erasures and legal holds in the admin."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from predictions.models import Erasure, LegalHold, Prediction
from predictions.retention import holds
from predictions.testing.rows import create_predictions, make_version
from registry.models import ModelVersion, RegisteredModel
from registry.testing.clients import text_of

ERASURES = "/admin/predictions/erasure/"
HOLDS = "/admin/predictions/legalhold/"
ERASURE = {"kind": "subject", "name": "customer-17", "model": "", "reason": "request 5"}


@pytest.fixture
def version(db: None) -> ModelVersion:
    version = make_version(None)
    create_predictions(version, [1.0, 2.0], subject="customer-17")
    return version


def test_an_erasure_shows_the_number_of_rows_before_it_deletes_them(
    admin_client: Client, version: ModelVersion
) -> None:
    asked = admin_client.post(f"{ERASURES}add/", ERASURE)
    assert "2 predictions would be deleted" in text_of(asked)
    assert Prediction.objects.count() == 2

    done = admin_client.post(f"{ERASURES}add/", {**ERASURE, "confirmed": "on"}, follow=True)

    assert "Deleted: 2 predictions" in text_of(done)
    assert "Backups of the database" in text_of(done)
    erasure = Erasure.objects.get()
    assert erasure.created_by is not None
    assert not Prediction.objects.exists()
    page = admin_client.get(f"{ERASURES}{erasure.pk}/change/")
    assert erasure.pseudonym in text_of(page)
    assert "customer-17" not in text_of(page)
    assert "customer-17" not in str(list(LogEntry.objects.values()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "odd"}, "Model odd not found"),
        ({"reason": "forget customer-17"}, "must not contain the subject"),
        ({"reason": ""}, "This field is required"),
    ],
)
def test_a_refused_erasure_is_an_error_of_the_form(
    admin_client: Client, version: ModelVersion, changes: Any, message: str
) -> None:
    response = admin_client.post(f"{ERASURES}add/", {**ERASURE, "confirmed": "on", **changes})

    assert message in text_of(response)
    assert Prediction.objects.count() == 2


def test_a_hold_is_placed_refuses_and_is_released(
    admin_client: Client, version: ModelVersion
) -> None:
    model = RegisteredModel.objects.get()
    form = {"registered_model": model.pk, "subject": "", "reason": "lawsuit"}
    admin_client.post(f"{HOLDS}add/", form)
    hold = LegalHold.objects.get()

    refused = admin_client.post(f"{ERASURES}add/", {**ERASURE, "confirmed": "on"})
    assert "lawsuit" in text_of(refused)
    page = text_of(admin_client.get(f"{HOLDS}{hold.pk}/change/"))
    assert "reason for its release" in page.lower()

    admin_client.post(f"{HOLDS}{hold.pk}/change/", {"release": "settled"})

    hold.refresh_from_db()
    assert (hold.release_reason, hold.released_by is None) == ("settled", False)
    released = text_of(admin_client.get(f"{HOLDS}{hold.pk}/change/"))
    assert "settled" in released
    assert 'name="_save"' not in released
    assert "lawsuit" in text_of(admin_client.get(HOLDS))


def test_a_hold_needs_a_model_or_a_subject(admin_client: Client, db: None) -> None:
    response = admin_client.post(f"{HOLDS}add/", {"reason": "lawsuit"})

    assert "Give a model, a subject or both" in text_of(response)
    assert not LegalHold.objects.exists()


def test_a_hold_released_in_the_meantime_is_told(
    admin_client: Client, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = holds.place(subject="customer-17", reason="lawsuit")
    release = holds.release

    def release_twice(*arguments: Any, **options: Any) -> Any:
        release(*arguments, **options)
        return release(*arguments, **options)

    monkeypatch.setattr(holds, "release", release_twice)

    response = admin_client.post(f"{HOLDS}{hold.pk}/change/", {"release": "settled"}, follow=True)

    assert f"Legal hold {hold.pk} was released at" in text_of(response)


def test_a_viewer_can_neither_erase_nor_hold_nor_release(version: ModelVersion) -> None:
    hold = holds.place(subject="x", reason="lawsuit")
    viewer = User.objects.create_user("viewer", is_staff=True)
    names = ["view_erasure", "view_legalhold"]
    viewer.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(viewer)

    assert browser.get(f"{ERASURES}add/").status_code == 403
    assert browser.get(f"{HOLDS}add/").status_code == 403
    assert browser.post(f"{HOLDS}{hold.pk}/change/", {"release": "x"}).status_code == 403
    assert "lawsuit" in text_of(browser.get(f"{HOLDS}{hold.pk}/change/"))
