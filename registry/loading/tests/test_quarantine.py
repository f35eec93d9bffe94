"""What follows from the death of a worker."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.isolation.black_box import BlackBox, WatchedRuntime
from registry.isolation.runtime import IsolatedRuntime
from registry.loading import loader, quarantine, watchdog
from registry.models import ModelVersion
from registry.runtimes.base import LoadOptions, Runtime, RuntimeUnavailable
from registry.runtimes.sklearn import runtime as sklearn_runtime
from registry.testing.artifacts import Artifact
from registry.testing.versions import MakeVersion


def box_of_a_dead_worker(path: Path, *version_ids: int) -> Path:
    box = BlackBox(path)
    for place, version_id in enumerate(version_ids):
        box.cells[2 * place] = version_id
    path.with_name(f"{path.name}.trace").write_text("Fatal Python error: Segmentation fault")
    return path


def test_a_version_that_was_alone_in_a_call_has_crashed(iris: ModelVersion, tmp_path: Path) -> None:
    path = box_of_a_dead_worker(tmp_path / "box", iris.pk, iris.pk)

    quarantine.note_death(path)
    quarantine.note_death(path)

    iris.refresh_from_db()
    assert (iris.crashes, iris.is_suspect, iris.quarantined_at) == (1, True, None)


def test_the_next_worker_draws_the_conclusions(
    iris: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = box_of_a_dead_worker(tmp_path / "box", iris.pk)
    BlackBox(path)
    monkeypatch.setattr(loader, "black_box_path", str(path))

    loader.note_earlier_deaths()

    iris.refresh_from_db()
    assert iris.crashes == 1


def test_of_several_versions_each_is_suspected(
    iris: ModelVersion, diabetes: ModelVersion, tmp_path: Path
) -> None:
    quarantine.note_death(box_of_a_dead_worker(tmp_path / "box", iris.pk, diabetes.pk))

    assert list(ModelVersion.objects.values_list("crashes", "is_suspect")) == [(0, True)] * 2


def test_a_suspect_gets_a_process_of_its_own(iris: ModelVersion) -> None:
    assert isinstance(loader.get(iris.pk).runtime, WatchedRuntime)
    loader.cache.drop([iris.pk])

    quarantine.suspect([iris.pk])

    assert isinstance(loader.get(iris.pk).runtime, IsolatedRuntime)


@pytest.mark.parametrize(
    ("policy", "expected"), [("always", IsolatedRuntime), ("never", WatchedRuntime)]
)
def test_the_setting_decides_for_all(
    policy: str, expected: type[object], iris: ModelVersion, settings: Any
) -> None:
    settings.MODEL_ISOLATION = policy

    assert isinstance(loader.get(iris.pk).runtime, expected)


def test_a_file_that_is_gone_when_its_process_starts_is_not_named_to_callers(
    iris: ModelVersion, model_path: Path, settings: Any
) -> None:
    settings.MODEL_ISOLATION = "always"
    runtime = loader.get(iris.pk).runtime
    assert isinstance(runtime, IsolatedRuntime)
    runtime.close()
    (model_path / iris.artifact).unlink()

    with pytest.raises(RuntimeUnavailable) as caught:
        runtime.predict({"features": np.array([[5.1, 3.5, 1.4, 0.2]])})

    assert str(caught.value) == "The model's artifact is not available now"


def test_a_file_that_cannot_be_proved_gets_a_process_of_its_own(
    make_version: MakeVersion, iris_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version("iris", iris_artifact)
    monkeypatch.setattr(loader, "hazard_of", lambda runtime: "it may repeat without end")

    assert isinstance(loader.get(version.pk).runtime, IsolatedRuntime)


@pytest.mark.django_db(transaction=True)
def test_a_call_that_hangs_in_a_worker_ends_the_worker(
    iris: ModelVersion, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HUNG_CALL_SECONDS = 60
    stopped: list[str] = []
    monkeypatch.setattr(loader, "black_box", box := BlackBox())
    monkeypatch.setattr(watchdog, "GRACE_SECONDS", 0)
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.append("asked"))
    monkeypatch.setattr(os, "_exit", lambda code: stopped.append("ended"))

    box.cells[0], box.cells[1] = iris.pk, time.monotonic_ns()
    watchdog.check()
    assert stopped == []

    box.cells[1] -= 61 * 10**9
    watchdog.check()

    iris.refresh_from_db()
    assert stopped == ["asked", "ended"]
    assert iris.is_suspect


def test_a_version_that_crashes_while_it_is_loaded_is_noted(
    iris: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(loader, "black_box", box := BlackBox())
    load = sklearn_runtime.load

    def watch(path: Path, options: LoadOptions) -> Runtime:
        seen.extend(call.version_id for call in box.calls())
        return load(path, options)

    monkeypatch.setattr(sklearn_runtime, "load", watch)

    loader.get(iris.pk)

    assert seen == [iris.pk]
    assert box.calls() == []


def test_every_death_counts_where_suspects_stay_in_the_workers(
    iris: ModelVersion, tmp_path: Path, settings: Any
) -> None:
    settings.MODEL_ISOLATION = "never"

    for number in range(quarantine.MAX_CRASHES):
        quarantine.note_death(box_of_a_dead_worker(tmp_path / f"box{number}", iris.pk))

    iris.refresh_from_db()
    assert iris.quarantined_at is not None
