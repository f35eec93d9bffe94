"""What the tests of all rooms share: tiny real models, trained and proved once, and who may ask."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, TransactionTestCase
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from registry import loader, statements
from registry.artifacts import proof
from registry.models import ModelVersion
from registry.runtimes.base import LoadOptions
from registry.testing.history import triggers_off

PROOF_LIMITS: dict[str, Any] = {"timeout_seconds": 60, "memory_bytes": 2**32}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained model: its file, what is sent beside it, and the estimator it was written from."""

    content: bytes
    model: Any
    row: Mapping[str, Any]
    proof: proof.Proof
    declared: Mapping[str, Any] | None = None
    example: Sequence[object] = field(default=())

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def upload(self, name: str = "model.skops") -> SimpleUploadedFile:
        return SimpleUploadedFile(name, self.content)


@pytest.fixture(scope="session", autouse=True)
def flush_takes_histories() -> Iterator[None]:
    """Tests with transactions empty all tables at their end, those that refuse it too."""
    patch = pytest.MonkeyPatch()
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def without_triggers(test: TransactionTestCase) -> None:
        with triggers_off():
            flush(test)

    patch.setattr(TransactionTestCase, "_fixture_teardown", without_triggers)
    yield
    patch.undo()


postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no pool of connections"
)


@contextmanager
def pool_of(max_size: int, *, timeout_seconds: float) -> Iterator[None]:
    """The pool of the test database, reopened with other limits; its tests have transactions."""
    options = connection.settings_dict["OPTIONS"]
    usual = options["pool"]
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    options["pool"] = {**usual, "min_size": 1, "max_size": max_size, "timeout": timeout_seconds}
    yield
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    # Not by monkeypatch, which may be undone only after the database was flushed: that would open
    # the next tests' pool with these options.
    options["pool"] = usual


# -- models, trained and proved once for all workers


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all of xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def prove_once(shared_folder: Path) -> Callable[..., proof.Proof]:
    """`proof.prove`, that runs once for the same file, signature and rows: it takes seconds."""
    prove = proof.prove

    def remembered(path: Path, **given: Any) -> proof.Proof:
        asked = [given["framework"], given["declared"], list(given["example"])]
        key = hashlib.sha256(path.read_bytes() + json.dumps(asked).encode()).hexdigest()
        answer = shared_folder / f"{key}.proof"
        with locked(shared_folder / f"{key}.lock"):
            if not answer.exists():
                answer.write_text(json.dumps(asdict(prove(path, **given))))
        return proof.Proof(**json.loads(answer.read_text()))

    return remembered


@pytest.fixture(scope="session")
def make_artifact(shared_folder: Path, prove_once: Callable[..., proof.Proof]) -> Any:
    """Write and prove an estimator, as one of that name for all workers."""

    def make(name: str, model: Any, row: Mapping[str, Any], **beside: Any) -> Artifact:
        import skops.io

        path = shared_folder / f"{name}.skops"
        with locked(path.with_suffix(".lock")):
            if not path.exists():
                skops.io.dump(model, path)
        proved = prove_once(
            path,
            framework="sklearn",
            options=LoadOptions(),
            declared=beside.get("declared"),
            example=beside.get("example", ()),
            **PROOF_LIMITS,
        )
        return Artifact(path.read_bytes(), model, row, proved, **beside)

    return make


@pytest.fixture(scope="session")
def iris_artifact(make_artifact: Any) -> Artifact:
    """A classifier of three text classes by four numbers without names."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target_names[data.target])
    return make_artifact("iris", model, {"features": [5.1, 3.5, 1.4, 0.2]})


@pytest.fixture(scope="session")
def diabetes_artifact(make_artifact: Any) -> Artifact:
    """A regressor of ten named numbers."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    data = load_diabetes()
    declared = {"inputs": [{"name": "features", "features": list(data.feature_names)}]}
    model = Ridge().fit(data.data, data.target)
    row = {"features": data.data[0].tolist()}
    return make_artifact("diabetes", model, row, declared=declared)


@pytest.fixture(scope="session")
def mixed_artifact(make_artifact: Any) -> Artifact:
    """A pipeline of a text and two numbers, one nullable, that raises for unknown cities."""
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
def pair_artifact(make_artifact: Any) -> Artifact:
    """A regressor that answers two numbers."""
    from sklearn.linear_model import LinearRegression

    rows = [[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]]
    model = LinearRegression().fit(rows, [[1.0, 2.0], [2.0, 5.0], [4.0, 3.0]])
    return make_artifact("pair", model, {"features": [1.0, 2.0]})


@pytest.fixture(scope="session")
def steep_artifact(make_artifact: Any) -> Artifact:
    """A regressor that answers infinity for moderate numbers."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]], [0.0, 1.0, 3.0])
    model.coef_ = np.array([1e300, -1e300])
    return make_artifact("steep", model, {"features": [1e10, 0.0]})


# -- versions in the database, each with its file


@pytest.fixture
def model_path(tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MODEL_PATH, and no model in memory."""
    settings.MODEL_PATH = tmp_path / "models"
    cache = loader.ModelCache(loader._load_active, settings.MODEL_CACHE_SIZE)
    monkeypatch.setattr(loader, "cache", cache)
    return tmp_path / "models"


@pytest.fixture
def proofs_once(monkeypatch: pytest.MonkeyPatch, prove_once: Callable[..., proof.Proof]) -> None:
    monkeypatch.setattr(proof, "prove", prove_once)


@pytest.fixture
def make_version(db: None, model_path: Path) -> Callable[..., ModelVersion]:
    """Create a version, with the file of an Artifact where one is given."""

    def make(name: str, artifact: Artifact | None = None, **fields: Any) -> ModelVersion:
        row = ModelVersion(name=name, **{"version": "1", "framework": "sklearn", **fields})
        if artifact is not None:
            row.artifact = f"{row.name}/{row.version}/model.skops"
            row.sha256, row.size_bytes = artifact.sha256, len(artifact.content)
            row.signature, row.libraries = artifact.proof.signature, artifact.proof.libraries
            path = model_path / row.artifact
            path.parent.mkdir(parents=True)
            path.write_bytes(artifact.content)
        row.save()
        return row

    return make


@pytest.fixture
def iris(make_version: Callable[..., ModelVersion], iris_artifact: Artifact) -> ModelVersion:
    return make_version("iris", iris_artifact)


@pytest.fixture
def diabetes(
    make_version: Callable[..., ModelVersion], diabetes_artifact: Artifact
) -> ModelVersion:
    return make_version("diabetes", diabetes_artifact)


@pytest.fixture
def mixed(make_version: Callable[..., ModelVersion], mixed_artifact: Artifact) -> ModelVersion:
    return make_version("mixed", mixed_artifact)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that go past Django's cursor, and so past what counts its queries."""
    sent = []

    def noted(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        sent.append(statement)
        return statements.fetch(statement, parameters)

    for module in ("aliases", "versions"):
        monkeypatch.setattr(f"registry.models.{module}.fetch", noted)
    return sent


# -- who asks


@pytest.fixture
def user(db: None) -> User:
    """Somebody without any permission, as every caller may be."""
    return User.objects.create_user("ada")


@pytest.fixture
def manager(db: None) -> User:
    """Somebody who may write models, and is no superuser."""
    manager = User.objects.create_user("grace")
    manager.user_permissions.set(Permission.objects.filter(content_type__app_label="registry"))
    return manager


def api_client(user: User | None = None) -> APIClient:
    client = APIClient()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


@pytest.fixture
def client(user: User) -> APIClient:
    return api_client(user)


@pytest.fixture
def admin_api(manager: User) -> APIClient:
    return api_client(manager)


@pytest.fixture
def admin_client(db: None) -> Client:
    """A browser in which a superuser is logged in to the admin."""
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    return browser
