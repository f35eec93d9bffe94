"""Times at which something ends, on replicas whose clocks differ: by the database's clock."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from predictions.models import IdempotencyKey
from predictions.retention.pruning import past_retention
from predictions.serving.guards.checks import key_refusal
from predictions.serving.idempotency import Claim, claim_keys
from predictions.testing.rows import make_version
from registry.access.keys import changes
from registry.access.keys.serializers import expiry_after
from registry.database import clock
from registry.models import AliasRequest, ApiKey, RegisteredModel, Right, Webhook
from registry.models.webhooks import ROTATION_OVERLAP

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NEARLY = timedelta(minutes=5)


def be_behind(monkeypatch: pytest.MonkeyPatch, difference: timedelta) -> None:
    """Let this machine's clock be so far behind the database's."""
    monkeypatch.setattr(clock, "_offset", difference)


@pytest.mark.parametrize("difference", [10 * DAY, -10 * DAY])
def test_a_new_key_ends_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch, user: User, difference: timedelta
) -> None:
    be_behind(monkeypatch, difference)
    key, _ = changes.create_key(
        name="k", owner=user, scopes=[Right.PREDICT], expires_at=expiry_after(5)
    )

    assert key_refusal(key) is None
    assert list(ApiKey.objects.valid()) == [key]
    assert key.expires_at is not None
    assert abs(key.expires_at - clock.now() - 5 * DAY) < NEARLY
    be_behind(monkeypatch, difference + 6 * DAY)
    assert key_refusal(key) is not None
    assert not ApiKey.objects.valid().exists()


def test_a_rotated_key_ends_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch, user: User
) -> None:
    be_behind(monkeypatch, 10 * DAY)
    key, _ = changes.create_key(
        name="k", owner=user, scopes=[Right.PREDICT], expires_at=expiry_after(5)
    )
    new, _ = changes.rotate_key(key_id=key.pk, overlap_hours=24)

    key.refresh_from_db()
    assert key.expires_at is not None
    assert abs(key.expires_at - clock.now() - DAY) < NEARLY
    assert new.expires_at is not None
    assert abs(new.expires_at - clock.now() - 5 * DAY) < NEARLY


def test_the_last_secret_of_a_webhook_signs_for_a_day_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webhook = Webhook.objects.create(name="w", url="https://hooks.example.com/")
    be_behind(monkeypatch, 10 * DAY)
    webhook.rotate()

    assert len(webhook.valid_salts) == 2
    be_behind(monkeypatch, 10 * DAY + ROTATION_OVERLAP)
    assert len(webhook.valid_salts) == 1


def test_a_request_for_approval_ends_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    be_behind(monkeypatch, 30 * DAY)
    request = AliasRequest(status=AliasRequest.Status.PENDING)

    assert request.state == AliasRequest.Status.PENDING
    be_behind(monkeypatch, 400 * DAY)
    assert request.state == AliasRequest.EXPIRED


def test_an_idempotency_key_ends_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch, user: User
) -> None:
    be_behind(monkeypatch, 10 * DAY)
    assert claim_keys([Claim.of(user.pk, "k", b"")])

    expires_at = IdempotencyKey.objects.get().expires_at
    assert abs(expires_at - clock.now() - DAY) < NEARLY


def test_retention_deletes_by_the_databases_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    make_version(None)
    RegisteredModel.objects.update(retention_days=30)
    be_behind(monkeypatch, -10 * DAY)

    [due] = past_retention()

    assert abs(clock.now() - due.before - 30 * DAY) < NEARLY
