"""Files of scikit-learn that load, and files that are refused."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.cluster import DBSCAN
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from registry.runtimes.base import LoadError, LoadOptions
from registry.runtimes.sklearn.runtime import load
from registry.runtimes.sklearn.tests.estimators import (
    COLOURS,
    OPTIONS,
    ROWS,
    labels,
    reload,
)
from registry.testing import trained_models


def test_untrusted_types_are_named(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.save), Ridge())
    model.steps[0][1].fit(ROWS)
    model.steps[1][1].fit(ROWS, ROWS[:, 0])

    with pytest.raises(LoadError, match=r"'numpy\.save'.*SKLEARN_TRUSTED_TYPES"):
        reload(model, tmp_path)


def test_a_type_in_the_setting_is_trusted(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.nan_to_num), Ridge()).fit(ROWS, ROWS[:, 0])
    skops.io.dump(model, tmp_path / "model.skops")
    options = LoadOptions(frozenset(["numpy.nan_to_num"]))

    outputs = load(tmp_path / "model.skops", options).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression(), "not fitted"),
        (DBSCAN().fit(ROWS), "neither predicts nor transforms"),
        ({"weights": ROWS}, "not an estimator"),
    ],
)
def test_an_object_that_cannot_predict_is_refused(
    model: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=message):
        reload(model, tmp_path)


def test_a_vectorizer_that_opens_files_is_refused(tmp_path: Path) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["yes", "no"], [1, 0])
    model.steps[0][1].input = "filename"

    with pytest.raises(LoadError, match="reads files"):
        reload(model, tmp_path)


@pytest.mark.parametrize("field", ["left_child", "feature"])
def test_a_tree_with_an_index_out_of_bounds_is_refused(field: str, tmp_path: Path) -> None:
    model = RandomForestClassifier(2, random_state=0).fit(ROWS, COLOURS)
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    _corrupt_nodes(path, field)

    with pytest.raises(LoadError, match="damaged"):
        load(path, OPTIONS)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_neighbour_tree_loads(algorithm: str, tmp_path: Path) -> None:
    model = KNeighborsClassifier(algorithm=algorithm).fit(ROWS, COLOURS)
    runtime = reload(model, tmp_path)

    assert labels(runtime, runtime.predict({"features": ROWS})) == model.predict(ROWS).tolist()


def test_a_file_of_another_library_version_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = trained_models.diabetes_skops(tmp_path / "model.skops")
    _rewrite(trained.path, "schema.json", lambda schema: schema.replace(b"1.9", b"1.8"))

    with caplog.at_level(logging.WARNING):
        runtime = load(trained.path, OPTIONS)

    assert runtime.libraries["scikit-learn"].startswith("1.8")
    assert len([record for record in caplog.records if "was written by" in record.message]) == 1


def _rewrite(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def _corrupt_nodes(path: Path, field: str) -> None:
    def corrupt(content: bytes) -> bytes:
        header, _, body = content.partition(b"\n")
        nodes = np.frombuffer(body, dtype=dtypes[0]).copy()
        nodes[field][0] = 10_000
        return header + b"\n" + nodes.tobytes()

    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    array = np.lib.format.read_array(file)
                if array.dtype.names and "left_child" in array.dtype.names:
                    dtypes = [array.dtype]
                    break
    _rewrite(path, name, corrupt)
