"""All estimators of scikit-learn, alone and behind columns of all kinds: each is answered as by the
library on every face, or refused with a reason. None is accepted and wrong.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from rest_framework.test import APIClient
from sklearn.cluster import KMeans

from predictions.testing import faces
from predictions.tests.estimators import matrix

REFUSED = {}
REFUSED_IN_PIPELINES = {}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("in_process_sandbox", "model_path"),
    pytest.mark.filterwarnings("ignore"),
]


def check(
    model: Any, rows: Any, folder: Path, admin_api: APIClient, client: APIClient
) -> str | None:
    """The reason why mlapi refuses the model, None after all its answers were compared."""
    path = folder / "model.skops"
    try:
        skops.io.dump(model, path)
    except Exception as error:
        return f"skops: {error}"
    try:
        version = faces.register(admin_api, path, name="field", framework="sklearn", example=[{"features": row} for row in matrix.sent(rows)])
    except faces.Refused as refusal:
        return str(refusal)
    sent = matrix.sent(rows)
    answers = faces.answers_of_every_face(client, version, sent)
    faces.assert_equal_answers(answers, matrix.expected_outputs(model, rows[: len(sent)]))
    return None


@pytest.mark.parametrize("name", matrix.estimator_names())
def test_an_estimator_answers_like_the_library_or_is_refused(
    name: str, tmp_path: Path, admin_api: APIClient, client: APIClient
) -> None:
    model = matrix.make(name)
    rows = matrix.fit(model)

    reason = check(model, rows, tmp_path, admin_api, client)

    print("REASON", name, reason)
    assert reason is None


@pytest.mark.parametrize("name", matrix.estimator_names())
def test_an_estimator_behind_columns_with_gaps_answers_like_the_library_or_is_refused(
    name: str, tmp_path: Path, admin_api: APIClient, client: APIClient
) -> None:
    model = matrix.in_pipeline(matrix.make(name))
    reason = "cannot be fitted"
    if model is not None:
        reason = check(model, matrix.MIXED, tmp_path, admin_api, client)

    print("REASON", name, reason)
    assert reason is None
