"""All estimators of scikit-learn, alone and behind columns of all kinds: each is answered as by the
library on every face, or refused with a reason. None is accepted and wrong.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import skops.io
from rest_framework.test import APIClient

from predictions.testing import faces
from predictions.tests.estimators import matrix

pytestmark = [
    pytest.mark.slow,
    pytest.mark.any_database,
    pytest.mark.usefixtures("in_process_sandbox", "model_path"),
    # The library's own, about rows that are no fair test of it.
    pytest.mark.filterwarnings("ignore"),
]

NO_NEW_ROWS = frozenset(
    (
        "AgglomerativeClustering",
        "ClassicalMDS",
        "DBSCAN",
        "EmpiricalCovariance",
        "GraphicalLasso",
        "GraphicalLassoCV",
        "HDBSCAN",
        "KernelDensity",
        "LedoitWolf",
        "LocalOutlierFactor",
        "MDS",
        "MinCovDet",
        "NearestNeighbors",
        "OAS",
        "OPTICS",
        "ShrunkCovariance",
        "SpectralBiclustering",
        "SpectralClustering",
        "SpectralCoclustering",
        "SpectralEmbedding",
        "TSNE",
    )
)
NO_ROWS = frozenset(("LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer", "PatchExtractor"))
# By name: a part of the reason.
REFUSED = {
    **dict.fromkeys(NO_NEW_ROWS, "neither predicts nor transforms new rows"),
    **dict.fromkeys(NO_ROWS, "transforms no rows of columns"),
    "Birch": "skops: Objects of type Birch are not supported",
    # A column that the model drops may be of any type.
    "ColumnTransformer": "does not contain the type of 'x4'",
    "DictVectorizer": "takes dictionaries",
    "FeatureHasher": "takes dictionaries",
    "FunctionTransformer": "does not contain the type of 'x0'",
    "HashingVectorizer": "gives 1048576 values for one row",
    "MissingIndicator": "not into numbers",
    "RadiusNeighborsClassifier": "No neighbors found .* send example rows",
}
CANNOT_FIT = frozenset(
    (
        "CountVectorizer",
        "DictVectorizer",
        "GraphicalLassoCV",
        "IsotonicRegression",
        "KernelCenterer",
        "LabelBinarizer",
        "LabelEncoder",
        "MultiLabelBinarizer",
        "QuadraticDiscriminantAnalysis",
        "SparseCoder",
        "TfidfVectorizer",
    )
)
REFUSED_BEHIND_COLUMNS = {
    **dict.fromkeys(NO_NEW_ROWS, "neither predicts nor transforms new rows"),
    **dict.fromkeys(CANNOT_FIT, "cannot be fitted"),
    "AdditiveChi2Sampler": "Negative values .* send example rows",
    "Birch": "skops: Objects of type Birch are not supported",
    "FeatureHasher": "not into numbers",
    "FrozenEstimator": "expecting 5 features",
    "HashingVectorizer": "not into numbers",
    "LatentDirichletAllocation": "Negative values .* send example rows",
    "MissingIndicator": "not into numbers",
    "NMF": "Negative values .* send example rows",
    # Encoders of numbers that are no categories.
    "OneHotEncoder": "unknown categories .* send example rows",
    "OrdinalEncoder": "unknown categories .* send example rows",
    "PatchExtractor": "not into numbers",
}


@pytest.mark.parametrize("name", matrix.estimator_names())
def test_an_estimator_answers_like_the_library_or_is_refused(
    name: str, tmp_path: Path, admin_api: APIClient, client: APIClient
) -> None:
    model = matrix.make(name)
    rows = matrix.fit(model)

    reason = refusal(model, rows, tmp_path, admin_api, client)

    assert_expected(reason, REFUSED.get(name))


@pytest.mark.parametrize("name", matrix.estimator_names())
def test_an_estimator_behind_columns_with_gaps_answers_like_the_library_or_is_refused(
    name: str, tmp_path: Path, admin_api: APIClient, client: APIClient
) -> None:
    model = matrix.in_pipeline(matrix.make(name))
    reason: str | None = "cannot be fitted"
    if model is not None:
        reason = refusal(model, matrix.MIXED, tmp_path, admin_api, client)

    assert_expected(reason, REFUSED_BEHIND_COLUMNS.get(name))


def test_the_matrix_is_complete() -> None:
    names = set(matrix.estimator_names())
    pipelines = names - CANNOT_FIT

    assert len(names) == 211
    assert len(names - REFUSED.keys()) == 178
    assert len(pipelines - REFUSED_BEHIND_COLUMNS.keys()) == 169
    assert names >= REFUSED.keys() | REFUSED_BEHIND_COLUMNS.keys()


def refusal(
    model: Any, rows: Any, folder: Path, admin_api: APIClient, client: APIClient
) -> str | None:
    """The reason why mlapi refuses the model, None after all its answers were compared."""
    path = folder / "model.skops"
    try:
        skops.io.dump(model, path)
    except Exception as error:
        return f"skops: {error}"
    try:
        version = faces.register(admin_api, path, name="field", framework="sklearn")
    except faces.Refused as refused:
        return str(refused)
    sent = matrix.sent(rows)
    answers = faces.answers_of_every_face(client, version, sent)
    alone = version.signature["batching"] == "single"
    expected = matrix.expected_outputs(model, rows[: len(sent)], alone=alone)
    faces.assert_equal_answers(answers, expected)
    return None


def assert_expected(reason: str | None, expected: str | None) -> None:
    if reason is None or expected is None:
        assert reason == expected
    else:
        assert re.search(expected, reason), reason
