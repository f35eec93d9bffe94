"""Tiny real models, trained and proved once for all tests and all workers of a run."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from registry.artifacts import proof
from registry.runtimes.base import LoadOptions


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained model: its file, the estimator in it, a row for it, and its proof.

    `declared` and `example` are the signature and the rows to send with the file.
    """

    content: bytes
    model: Any
    row: Mapping[str, Any]
    proof: proof.Proof
    declared: Mapping[str, object] | None = None
    example: Sequence[object] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def upload(self, name: str = "model.skops") -> SimpleUploadedFile:
        return SimpleUploadedFile(name, self.content)


class Prove(Protocol):
    """The signature of `proof.prove`."""

    def __call__(
        self,
        path: Path,
        *,
        framework: str,
        options: LoadOptions,
        declared: Mapping[str, object] | None,
        example: Sequence[object],
        timeout_seconds: float,
        memory_bytes: int,
    ) -> proof.Proof: ...


class MakeArtifact(Protocol):
    def __call__(
        self,
        name: str,
        model: object,
        row: Mapping[str, object],
        *,
        declared: Mapping[str, object] | None = None,
        example: Sequence[object] = (),
    ) -> Artifact: ...


# -- once for all workers


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of xdist."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def prove_once(shared_folder: Path) -> Prove:
    """`proof.prove`, cached by the file, the signature and the rows, since it takes seconds."""
    prove = proof.prove

    def prove_cached(
        path: Path,
        *,
        framework: str,
        options: LoadOptions,
        declared: Mapping[str, object] | None,
        example: Sequence[object],
        timeout_seconds: float,
        memory_bytes: int,
    ) -> proof.Proof:
        arguments = json.dumps([framework, declared, list(example)])
        key = hashlib.sha256(path.read_bytes() + arguments.encode()).hexdigest()
        cached = shared_folder / f"{key}.proof"
        with locked(shared_folder / f"{key}.lock"):
            if not cached.exists():
                result = prove(
                    path,
                    framework=framework,
                    options=options,
                    declared=declared,
                    example=example,
                    timeout_seconds=timeout_seconds,
                    memory_bytes=memory_bytes,
                )
                cached.write_text(json.dumps(asdict(result)))
        return proof.Proof(**json.loads(cached.read_text()))

    return prove_cached


@pytest.fixture
def cached_proofs(monkeypatch: pytest.MonkeyPatch, prove_once: Prove) -> None:
    """Let the product itself use `prove_once`."""
    monkeypatch.setattr(proof, "prove", prove_once)


@pytest.fixture(scope="session")
def make_artifact(shared_folder: Path, prove_once: Prove) -> MakeArtifact:
    """Write and prove an estimator, once for each name."""

    def make(
        name: str,
        model: object,
        row: Mapping[str, object],
        *,
        declared: Mapping[str, object] | None = None,
        example: Sequence[object] = (),
    ) -> Artifact:
        import skops.io

        path = shared_folder / f"{name}.skops"
        with locked(path.with_suffix(".lock")):
            if not path.exists():
                skops.io.dump(model, path)
        proved = prove_once(
            path,
            framework="sklearn",
            options=LoadOptions(),
            declared=declared,
            example=example,
            timeout_seconds=60,
            memory_bytes=2**32,
        )
        return Artifact(path.read_bytes(), model, row, proved, declared, example)

    return make


# -- the models


@pytest.fixture(scope="session")
def iris_artifact(make_artifact: MakeArtifact) -> Artifact:
    """A classifier with three text classes, of four numbers without names."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target_names[data.target])
    return make_artifact("iris", model, {"features": [5.1, 3.5, 1.4, 0.2]})


@pytest.fixture(scope="session")
def diabetes_artifact(make_artifact: MakeArtifact) -> Artifact:
    """A regressor of ten named numbers."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    data = load_diabetes()
    declared = {"inputs": [{"name": "features", "features": list(data.feature_names)}]}
    model = Ridge().fit(data.data, data.target)
    row = {"features": data.data[0].tolist()}
    return make_artifact("diabetes", model, row, declared=declared)


@pytest.fixture(scope="session")
def mixed_artifact(make_artifact: MakeArtifact) -> Artifact:
    """A pipeline of a text and two numbers, one of them nullable. It raises for unknown cities."""
    import pyarrow
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(), ["city"]),
            ("age", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            ("income", StandardScaler(), ["income"]),
        ]
    )
    rows = pyarrow.table(
        {
            "city": ["Oslo", "Rome", "Oslo", "Rome"],
            "age": [20.0, 30.0, 40.0, 50.0],
            "income": [1.0, 2.0, 3.0, 4.0],
        }
    )
    model = make_pipeline(columns, LogisticRegression()).fit(rows, ["no", "yes", "no", "yes"])
    row = {"city": "Oslo", "age": 20.5, "income": 1.5}
    return make_artifact("mixed", model, row, example=[row])


@pytest.fixture(scope="session")
def pair_artifact(make_artifact: MakeArtifact) -> Artifact:
    """A regressor with two targets."""
    from sklearn.linear_model import LinearRegression

    rows = [[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]]
    model = LinearRegression().fit(rows, [[1.0, 2.0], [2.0, 5.0], [4.0, 3.0]])
    return make_artifact("pair", model, {"features": [1.0, 2.0]})


@pytest.fixture(scope="session")
def overflowing_artifact(make_artifact: MakeArtifact) -> Artifact:
    """A regressor that predicts infinity for moderate numbers."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]], [0.0, 1.0, 3.0])
    model.coef_ = np.array([1e300, -1e300])
    return make_artifact("overflowing", model, {"features": [1e10, 0.0]})
