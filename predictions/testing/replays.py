"""What the tests of replays share: recorded rows, and two versions that differ."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from predictions.evaluation.replays import replay
from predictions.models import Prediction, Replay
from registry.models import ModelVersion
from registry.testing.fixtures import Artifact

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

MakeVersion = Callable[..., ModelVersion]


def iris_rows() -> Any:
    from sklearn.datasets import load_iris

    return load_iris().data


def recorded_labels(version: ModelVersion, artifact: Artifact, rows: Any) -> list[Prediction]:
    """Rows that a classifier answered, one a minute."""
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


def recorded_values(version: ModelVersion, rows: Any, values: Sequence[float]) -> list[Prediction]:
    """Rows that a regressor answered, one a minute."""
    return _create(version, rows, [{"prediction": float(value)} for value in values])


def _create(
    version: ModelVersion, rows: Any, answers: Sequence[dict[str, Any]]
) -> list[Prediction]:
    return Prediction.objects.bulk_create(
        Prediction(
            model=version,
            input_data={"features": [float(value) for value in row]},
            created_at=NOON + timedelta(minutes=i),
            **answer,
        )
        for i, (row, answer) in enumerate(zip(rows, answers, strict=True))
    )


def replayed(from_version: ModelVersion, to_version: ModelVersion, **options: Any) -> Replay:
    """A completed replay, in chunks of a few rows."""
    chunk_rows = options.pop("chunk_rows", 7)
    plan = replay.Plan(from_version=from_version, to_version=to_version, **options)
    return replay.run(replay.start(plan), replay.load(to_version), chunk_rows=chunk_rows)


@pytest.fixture(scope="session")
def coarse_artifact(make_artifact: Any) -> Artifact:
    """A worse classifier that knows a fourth species, first by name: all indexes differ."""
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    rows = np.vstack([data.data, [[90.0, 90.0, 90.0, 90.0]]])
    species = [*data.target_names[data.target], "another"]
    model = LogisticRegression(C=0.003, max_iter=10_000).fit(rows, species)
    return make_artifact("coarse", model, {"features": [5.1, 3.5, 1.4, 0.2]})


@pytest.fixture
def coarse(make_version: MakeVersion, coarse_artifact: Artifact) -> ModelVersion:
    return make_version("iris", coarse_artifact, version="2")


def report_of(row: Replay) -> dict[str, Any]:
    assert row.status == Replay.Status.COMPLETED
    assert row.report is not None
    return row.report


@pytest.fixture
def recorded(iris: ModelVersion, iris_artifact: Artifact) -> list[Prediction]:
    return recorded_labels(iris, iris_artifact, iris_rows()[::10])
