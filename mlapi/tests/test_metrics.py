"""The series of versions that were deleted or deactivated end."""

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from mlapi import metrics
from mlapi.metrics import ENDED_VERSIONS, exposition
from predictions.metrics import INFERENCE_SECONDS, PREDICTIONS, SHADOWS_DROPPED
from registry.models import ModelVersion

GONE = frozenset({"gone:1", "kept:1"})


@pytest.fixture(autouse=True)
def no_background_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test calls `check` itself, where it has the database."""
    monkeypatch.setattr(ENDED_VERSIONS, "_next_check", float("inf"))
    yield
    monkeypatch.setattr(ENDED_VERSIONS, "_ended", frozenset())


def make(name: str) -> ModelVersion:
    """A version that was used."""
    version = ModelVersion.objects.create(name=name, version="1", framework="sklearn")
    PREDICTIONS.labels(f"{name}:1", "succeeded").inc()
    INFERENCE_SECONDS.labels(f"{name}:1").observe(0.1)
    SHADOWS_DROPPED.labels(str(version.pk), "queue full").inc()
    return version


def check(*versions: ModelVersion) -> None:
    names = [f"{version.name}:{version.version}" for version in versions]
    ENDED_VERSIONS.check(frozenset(names) | {str(version.pk) for version in versions})


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["deleted", "deactivated"])
def test_series_of_a_version_that_is_not_used_any_more_end(how: str) -> None:
    gone, kept = make("gone"), make("kept")
    pk = gone.pk
    ModelVersion.objects.filter(pk=pk).update(is_active=False)
    check(gone, kept)
    if how == "deleted":
        gone.delete()
        gone.pk = pk
        check(gone, kept)

    text = exposition().decode()

    assert 'model="gone:1"' not in text
    assert f'model_id="{pk}"' not in text
    assert 'mlapi_predictions_total{model="kept:1",status="succeeded"}' in text
    assert 'mlapi_inference_seconds_count{model="kept:1"}' in text
    assert f'model_id="{kept.pk}"' in text


@pytest.mark.django_db
def test_series_of_a_version_that_is_activated_again_continue() -> None:
    gone = make("gone")
    ModelVersion.objects.update(is_active=False)
    check(gone)
    ModelVersion.objects.update(is_active=True)
    check(gone)

    assert 'model="gone:1"' in exposition().decode()


@pytest.mark.django_db
def test_a_version_that_is_newer_than_the_last_check_is_shown() -> None:
    check(make("kept"))
    make("newer")

    assert 'model="newer:1"' in exposition().decode()


def test_a_scrape_does_not_wait_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    # This test has no database, and the check never ends.
    PREDICTIONS.labels("kept:1", "succeeded").inc()
    never, started = threading.Event(), threading.Event()

    def hang(labels: frozenset[str]) -> None:
        started.set()
        never.wait(60)

    monkeypatch.setattr(ENDED_VERSIONS, "_next_check", 0.0)
    monkeypatch.setattr(ENDED_VERSIONS, "check", hang)

    assert b"mlapi_predictions_total" in exposition()
    assert started.wait(30)
    assert b"mlapi_predictions_total" in exposition()
    never.set()


def test_a_failed_check_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(labels: frozenset[str]) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(ENDED_VERSIONS, "check", fail)
    monkeypatch.setattr(ENDED_VERSIONS, "_ended", GONE)

    ENDED_VERSIONS._check_and_close(frozenset({"gone:1"}))

    assert ENDED_VERSIONS.among(GONE) == GONE


def test_series_end_in_the_exposition_of_several_workers(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    value = values.MultiProcessValue(lambda: 4242)  # type: ignore[no-untyped-call]
    for label in GONE:
        counter = ("counter", "mlapi_predictions", "mlapi_predictions_total", ("model", "status"))
        value(*counter, (label, "succeeded"), "Predictions.").inc(3)
    monkeypatch.setattr(ENDED_VERSIONS, "_ended", frozenset({"gone:1"}))

    text = exposition().decode()

    assert 'mlapi_predictions_total{model="kept:1",status="succeeded"} 3.0' in text
    assert "gone:1" not in text
    collected = CollectorRegistry()
    MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
    assert "gone:1" in metrics._version_labels(collected.collect())
