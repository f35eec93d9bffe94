"""What the tests of replays share: recorded predictions, and two versions that differ."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import Plan
from predictions.models import Prediction, Replay
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

MakeVersion = Callable[..., ModelVersion]


def iris_rows() -> NDArray[np.float64]:
    from sklearn.datasets import load_iris

    rows: NDArray[np.float64] = load_iris().data
    return rows


def record_labels(version: ModelVersion, artifact: Artifact, rows: Any) -> list[Prediction]:
    """Predictions with the answers of the artifact's classifier, one minute apart."""
    classes = list(map(str, artifact.model.classes_))
    return _create(
        version,
        rows,
        [
            {
                "prediction": float(p.argmax()),
                "confidence": float(p.max()),
                "output": {
                    "label": classes[p.argmax()],
                    "probabilities": dict(zip(classes, p.tolist(), strict=True)),
                },
            }
            for p in artifact.model.predict_proba(rows)
        ],
    )


def record_values(version: ModelVersion, rows: Any, values: Sequence[float]) -> list[Prediction]:
    """Predictions with these values as answers, one minute apart."""
    return _create(version, rows, [{"prediction": float(value)} for value in values])


def _create(version: ModelVersion, rows: Any, answers: Sequence[JSONObject]) -> list[Prediction]:
    return Prediction.objects.bulk_create(
        Prediction(
            model=version,
            input_data={"features": [float(value) for value in row]},
            created_at=NOON + timedelta(minutes=i),
            **answer,
        )
        for i, (row, answer) in enumerate(zip(rows, answers, strict=True))
    )


def run_replay(from_version: ModelVersion, to_version: ModelVersion, **options: Any) -> Replay:
    """A completed replay, run in chunks of a few rows."""
    chunk_rows = options.pop("chunk_rows", 7)
    replay = runner.start(Plan(from_version=from_version, to_version=to_version, **options))
    return runner.run(replay, runner.load_model(to_version), chunk_rows=chunk_rows)


def completed_report(replay: Replay) -> JSONObject:
    assert replay.status == Replay.Status.COMPLETED
    report: JSONObject | None = replay.report
    assert report is not None
    return report


@pytest.fixture(scope="session")
def coarse_artifact(make_artifact: Callable[..., Artifact]) -> Artifact:
    """A less accurate iris classifier with a fourth class that sorts first: all indices differ."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    rows = np.vstack([data.data, [[90.0, 90.0, 90.0, 90.0]]])
    species = [*data.target_names[data.target], "another"]
    model = LogisticRegression(C=0.003, max_iter=10_000).fit(rows, species)
    return make_artifact("coarse", model, {"features": [5.1, 3.5, 1.4, 0.2]})


@pytest.fixture
def coarse(make_version: MakeVersion, coarse_artifact: Artifact) -> ModelVersion:
    """iris:2, the less accurate version."""
    return make_version("iris", coarse_artifact, version="2")


@pytest.fixture
def recorded_rows(iris: ModelVersion, iris_artifact: Artifact) -> list[Prediction]:
    """15 predictions of iris:1."""
    return record_labels(iris, iris_artifact, iris_rows()[::10])
