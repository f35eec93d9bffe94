"""A model in a process of its own."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from registry.isolation import processes
from registry.isolation.runtime import IsolatedRuntime, ModelCrashed
from registry.isolation.tests.conftest import LONG_SECONDS
from registry.isolation.tests.hostile_scorer import CRASH, EXHAUST, FLOOD, HANG, KILL, LIE
from registry.runtimes.base import (
    DeadlineExceeded,
    InferenceError,
    Interruptible,
    LoadError,
    RuntimeUnavailable,
    hazard_of,
)
from registry.runtimes.onnx import runtime as onnx_runtime
from registry.runtimes.sklearn import runtime as sklearn_runtime
from registry.testing.artifacts import Artifact
from registry.testing.onnx_graphs import FLOAT, OPTIONS, constant, info, write_graph

FLOWER = [5.1, 3.5, 1.4, 0.2]


def row(first: float = FLOWER[0]) -> dict[str, np.ndarray]:
    return {"features": np.array([[first, *FLOWER[1:]]])}


def test_an_isolated_model_gives_the_answers_of_one_in_this_process(
    iris_artifact: Artifact, tmp_path: Path, isolate: Callable[..., IsolatedRuntime]
) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(iris_artifact.content)
    rows = {"features": np.random.default_rng(0).normal(size=(5000, 4))}

    isolated = isolate(path, "sklearn", iris_artifact.proof.signature)

    expected = sklearn_runtime.load(path, OPTIONS).predict(rows)
    found = isolated.predict(rows)
    assert isinstance(isolated, Interruptible)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert isolated.size_bytes > 2**20


def test_a_crash_fails_its_own_call_and_is_reported(
    hostile: IsolatedRuntime, crashes: list[str]
) -> None:
    with pytest.raises(ModelCrashed, match="died of SIGSEGV"):
        hostile.predict(row(CRASH))

    assert crashes == ["died of SIGSEGV"]
    assert hostile.predict(row())["label"].tolist() == [0]


def test_a_call_that_hangs_is_given_up(hostile: IsolatedRuntime, crashes: list[str]) -> None:
    started = time.monotonic()

    with pytest.raises(DeadlineExceeded, match="within 1 s"):
        hostile.predict_within(row(HANG), 1.0)

    assert time.monotonic() - started < 30
    assert crashes == []
    assert hostile.predict(row())["label"].tolist() == [0]


def test_waiting_for_another_call_counts(hostile: IsolatedRuntime) -> None:
    def hang() -> None:
        with pytest.raises(DeadlineExceeded):
            hostile.predict_within(row(HANG), 5.0)

    hanging = threading.Thread(target=hang)
    hanging.start()
    while not hostile._lock.locked():
        time.sleep(0.01)

    with pytest.raises(DeadlineExceeded):
        hostile.predict_within(row(), 0.1)

    hanging.join()


@pytest.mark.parametrize("trigger", [LIE, FLOOD])
def test_a_reply_that_is_none_counts_as_a_crash(
    trigger: float, hostile: IsolatedRuntime, crashes: list[str]
) -> None:
    with pytest.raises(ModelCrashed):
        hostile.predict(row(trigger))

    assert len(crashes) == 1


def test_the_librarys_own_error_keeps_the_process(
    hostile: IsolatedRuntime, crashes: list[str]
) -> None:
    assert hostile._scorer is not None
    process = hostile._scorer.process.pid

    with pytest.raises(InferenceError):
        hostile.predict({"features": np.zeros((1, 7))})

    assert hostile._scorer.process.pid == process
    assert crashes == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_somebody_killed_costs_no_call(
    number: int, hostile: IsolatedRuntime, crashes: list[str]
) -> None:
    assert hostile._scorer is not None
    os.kill(hostile._scorer.process.pid, number)

    assert hostile.predict(row())["label"].tolist() == [0]
    assert crashes == []


def test_a_call_whose_process_is_killed_again_fails(
    hostile: IsolatedRuntime, crashes: list[str]
) -> None:
    with pytest.raises(ModelCrashed, match="SIGKILL"):
        hostile.predict(row(KILL))

    assert crashes == []
    assert hostile.predict(row())["label"].tolist() == [0]


def test_a_crash_of_several_rows_is_not_counted_before_they_are_scored_one_by_one(
    hostile: IsolatedRuntime, crashes: list[str]
) -> None:
    with pytest.raises(ModelCrashed, match="SIGSEGV"):
        hostile.predict({"features": np.array([[CRASH, *FLOWER[1:]], FLOWER])})

    assert crashes == []


def test_a_lack_of_memory_is_no_crash(hostile: IsolatedRuntime, crashes: list[str]) -> None:
    with pytest.raises(InferenceError, match="MemoryError"):
        hostile.predict(row(EXHAUST))

    assert crashes == []


def test_a_process_that_cannot_be_started_is_tried_again(
    hostile: IsolatedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*arguments: object, **options: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    hostile.close()
    with monkeypatch.context() as patch:
        patch.setattr(processes, "start", start)
        with pytest.raises(RuntimeUnavailable):
            hostile.predict(row())

    assert hostile.predict(row())["label"].tolist() == [0]


def test_a_process_ends_when_its_model_is_forgotten(hostile: IsolatedRuntime) -> None:
    assert hostile._scorer is not None
    process = hostile._scorer.process

    hostile.__del__()

    assert process.returncode is not None


def test_a_file_that_cannot_be_loaded_is_refused(
    iris_artifact: Artifact, tmp_path: Path, isolate: Callable[..., IsolatedRuntime]
) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(b"damaged")

    with pytest.raises(LoadError, match="cannot read the file"):
        isolate(path, "sklearn", iris_artifact.proof.signature)


# -- a graph with a loop that ends on every input but one

ENDLESS = 12345.0


def endless_graph(path: Path) -> Path:
    """y = x; a loop repeats for ever if any x is ENDLESS."""
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Identity", ["kept"], ["passed"]),
        ],
        "body",
        [scalar("i", 7, []), scalar("go", 9, []), scalar("kept", FLOAT, ["n", 1])],
        [scalar("again", 9, []), scalar("passed", FLOAT, ["n", 1])],
    )
    nodes = [
        helper.make_node("Equal", ["x", "endless"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["number"], to=FLOAT),
        helper.make_node("ReduceMax", ["number"], ["any"], keepdims=0),
        helper.make_node("Cast", ["any"], ["start"], to=9),
        helper.make_node("Loop", ["", "start", "x"], ["y"], body=body),
    ]
    return write_graph(
        path, nodes, [info("x", ["n", 1])], [info("y", ["n", 1])], [constant("endless", ENDLESS)]
    )


def test_an_endless_loop_in_a_graph_is_given_up(
    tmp_path: Path, isolate: Callable[..., IsolatedRuntime]
) -> None:
    path = endless_graph(tmp_path / "model.onnx")
    in_process = onnx_runtime.load(path, OPTIONS)
    isolated = isolate(path, "onnx", in_process.signature.as_json())

    with pytest.raises(DeadlineExceeded):
        isolated.predict_within({"x": np.array([[ENDLESS]], np.float32)}, 1.0)

    assert "Loop may repeat without end" in hazard_of(in_process)
    found = isolated.predict_within({"x": np.array([[2.0]], np.float32)}, LONG_SECONDS)
    assert found["y"].tolist() == [[2.0]]
