"""A model in a process of its own, which does harm on certain inputs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from registry.isolation import runtime
from registry.isolation.runtime import IsolatedRuntime, Isolation
from registry.testing.artifacts import Artifact

HOSTILE_SCORER = "registry.isolation.tests.hostile_scorer"
LONG_SECONDS = 120.0


@pytest.fixture
def crashes() -> list[str]:
    """What the isolated model's process died of."""
    return []


@pytest.fixture
def isolate(crashes: list[str]) -> Iterator[Callable[..., IsolatedRuntime]]:
    """Load a file in a process of its own, which ends with the test."""
    started: list[IsolatedRuntime] = []

    def report(reason: str) -> bool:
        crashes.append(reason)
        return True

    def load(path: Path, framework: str, signature: Mapping[str, object]) -> IsolatedRuntime:
        isolation = Isolation(
            path.name,
            lambda: nullcontext(path),
            framework,
            signature,
            frozenset(),
            2**32,
            LONG_SECONDS,
            LONG_SECONDS,
        )
        started.append(IsolatedRuntime(isolation, {}, report))
        return started[-1]

    yield load
    for isolated in started:
        isolated.close()


@pytest.fixture
def hostile(
    iris_artifact: Artifact,
    tmp_path: Path,
    isolate: Callable[..., IsolatedRuntime],
    monkeypatch: pytest.MonkeyPatch,
) -> IsolatedRuntime:
    monkeypatch.setattr(runtime, "SCORER", HOSTILE_SCORER)
    path = tmp_path / "model.skops"
    path.write_bytes(iris_artifact.content)
    return isolate(path, "sklearn", iris_artifact.proof.signature)
