import logging
import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from mlapi.databases import startup
from mlapi.databases.startup import DatabaseUnfit
from mlapi.health.database import DatabaseProbe
from mlapi.server.in_flight import InFlight

TEST_SECONDS = 60


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next checks raise; those after them pass."""
    errors: list[Exception] = []

    def check() -> None:
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr(startup, "check_database", check)
    monkeypatch.setattr(startup, "RETRY_SECONDS", 0.01)
    return errors


@pytest.fixture
def pending() -> Iterator[None]:
    startup._is_pending.set()
    yield
    startup._is_pending.clear()


def test_the_check_is_repeated_until_it_passes(
    failures: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    failures += [OperationalError("down"), *[DatabaseUnfit("Migrate first.")] * 2, ValueError("?")]
    passed = threading.Event()

    startup.check_later(passed.set)

    assert passed.wait(TEST_SECONDS)
    assert not startup.is_check_pending()
    assert not failures
    assert caplog.text.count("Requests are refused: Migrate first.") == 1


@pytest.mark.django_db
def test_a_database_that_answers_is_not_ready_before_it_is_checked(pending: None) -> None:
    probe = DatabaseProbe()

    assert probe.state()["database"] == "unchecked"
    startup._is_pending.clear()
    assert probe.state()["database"] == "ok"


def test_a_closed_server_refuses_every_request() -> None:
    in_flight = InFlight()

    assert in_flight.refusal() == ""
    in_flight.closed_because = startup.NOT_CHECKED
    assert in_flight.refusal() == startup.NOT_CHECKED
