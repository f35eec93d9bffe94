"""The database's clock against a machine's that is wrong."""

import logging
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from registry.database import clock
from registry.metrics import CLOCK_OFFSET_SECONDS

DAY_SECONDS = 86_400.0


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(clock, "_offset", timedelta())
    monkeypatch.setattr(clock, "_has_warned", False)
    yield
    CLOCK_OFFSET_SECONDS.set(0)


def offset_seconds() -> float:
    return (clock.now() - timezone.now()).total_seconds()


@pytest.mark.django_db
def test_a_right_clock_is_left_alone() -> None:
    clock.compare(connection)

    # The machine of these tests is also the database's.
    assert abs(offset_seconds()) < 0.1


@pytest.mark.django_db
@pytest.mark.parametrize("error_seconds", [DAY_SECONDS, -DAY_SECONDS])
def test_a_wrong_clock_is_corrected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error_seconds: float
) -> None:
    right, read = timezone.now(), time.time
    monkeypatch.setattr("time.time", lambda: read() + error_seconds)
    monkeypatch.setattr(
        timezone,
        "now",
        lambda: right + timedelta(seconds=read() + error_seconds - right.timestamp()),
    )

    with caplog.at_level(logging.WARNING):
        clock.compare(connection)
        clock.compare(connection)

    if connection.vendor == "postgresql":
        assert abs((clock.now() - right).total_seconds()) < 60
        assert CLOCK_OFFSET_SECONDS._value.get() == pytest.approx(-error_seconds, abs=60)
        direction = "ahead of" if error_seconds > 0 else "behind"
        assert [f"86400.0 s {direction}" in text for text in caplog.messages] == [True]
    else:
        # SQLite asks this machine.
        assert clock.now() == pytest.approx(timezone.now(), abs=timedelta(seconds=60))
        assert caplog.messages == []


def test_noise_changes_nothing() -> None:
    clock._correct(0.020, 0.030)
    assert clock._offset == timedelta()

    clock._correct(5.0, 0.030)
    clock._correct(5.020, 0.030)
    assert clock._offset == timedelta(seconds=5)

    # Set right again by the machine's administrator.
    clock._correct(0.010, 0.030)
    assert clock._offset == timedelta()


def test_a_clock_that_is_set_back_while_it_is_read_is_read_again_later() -> None:
    clock._correct(1800.0, -1800.0)

    assert clock._offset == timedelta()
