"""What a fitted search and imputers keep in their files."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from scipy import stats
from sklearn import model_selection
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes it importable
from sklearn.impute import IterativeImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from registry.runtimes.base import LoadError
from registry.runtimes.sklearn.runtime import load, read_object
from registry.runtimes.sklearn.tests.estimators import OPTIONS, ROWS, reload

SPLITTERS = [
    model_selection.GroupKFold(),
    model_selection.GroupShuffleSplit(random_state=0),
    model_selection.LeaveOneGroupOut(),
    model_selection.LeaveOneOut(),
    model_selection.LeavePGroupsOut(2),
    model_selection.LeavePOut(2),
    model_selection.PredefinedSplit([0, 1] * 20),
    model_selection.RepeatedKFold(n_splits=2, n_repeats=2),
    model_selection.RepeatedStratifiedKFold(n_splits=2, n_repeats=2),
    model_selection.ShuffleSplit(3, random_state=np.random.RandomState(0)),
    model_selection.StratifiedGroupKFold(2),
    model_selection.StratifiedShuffleSplit(2),
    model_selection.TimeSeriesSplit(3),
]
DISTRIBUTIONS = [
    stats.loguniform(1e-3, 1),
    stats.uniform(0.1, 1),
    stats.expon(),
    stats.norm(1, 0.01),
    stats.truncnorm(1, 2),
]


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda splitter: type(splitter).__name__)
def test_a_search_keeps_its_splitter(splitter: Any, tmp_path: Path) -> None:
    model = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2).fit(ROWS, ROWS[:, 0])
    model.cv = splitter

    outputs = reload(model, tmp_path).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS))


def randomized(distribution: Any) -> Any:
    pipeline = make_pipeline(StandardScaler(), Ridge())
    search = RandomizedSearchCV(
        pipeline, {"ridge__alpha": distribution}, n_iter=2, cv=2, random_state=0
    )
    return search.fit(ROWS, ROWS[:, 0])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda frozen: frozen.dist.name)
def test_a_randomized_search_loads_without_its_distributions(
    distribution: Any, tmp_path: Path
) -> None:
    model = randomized(distribution)

    outputs = reload(model, tmp_path).predict({"features": ROWS})

    np.testing.assert_array_equal(outputs["value"], model.predict(ROWS))


def test_a_randomized_search_is_read_for_a_conversion(tmp_path: Path) -> None:
    model = randomized(stats.loguniform(1e-3, 1))
    skops.io.dump(model, tmp_path / "model.skops")

    source: Any = read_object(tmp_path / "model.skops", frozenset())

    np.testing.assert_array_equal(source.predict(ROWS), model.predict(ROWS))


def test_code_in_a_distribution_never_runs(tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    distribution = stats.loguniform(1e-3, 1)
    model = randomized(distribution)
    # scipy executes this text when the object is built again.
    distribution.dist._parse_arg_template += f"\nopen({str(proof)!r}, 'w').close()\n"
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    assert b"executed" in zipfile.ZipFile(path).read("schema.json")

    load(path, OPTIONS)

    assert not proof.exists()
    # The reason why the types are not trusted.
    skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    assert proof.exists()


def test_a_distribution_under_another_name_stays_untrusted(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(randomized(stats.loguniform(1e-3, 1)), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = members["schema.json"].decode()
    renamed = schema.replace("scipy.stats._distn_infrastructure", "scipy.stats.distributions")
    members["schema.json"] = json.dumps(json.loads(renamed)).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    with pytest.raises(LoadError, match=r"not trusted: .*'scipy\.stats\.distributions"):
        load(path, OPTIONS)


def test_an_iterative_imputer_answers_like_the_library(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[::3, 1] = np.nan
    model = make_pipeline(IterativeImputer(random_state=0), Ridge()).fit(rows, ROWS[:, 0])
    runtime = reload(model, tmp_path)

    outputs = runtime.predict({"features": rows})

    assert runtime.signature.inputs[0].nullable
    np.testing.assert_array_equal(outputs["value"], model.predict(rows))


def test_an_empty_row_is_imputed_alike_alone_and_beside_others(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[::3, 1] = np.nan
    rows[4] = np.nan
    model = make_pipeline(IterativeImputer(random_state=0), Ridge()).fit(rows, ROWS[:, 0] ** 2)
    alone = model.predict(rows[[4]])
    assert abs(alone - model.predict(rows)[4]) > 1e-6

    outputs = reload(model, tmp_path).predict({"features": rows})

    np.testing.assert_array_equal(outputs["value"][[4]], alone)


def test_an_imputer_that_draws_at_random_is_refused(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[::3, 1] = np.nan
    imputer = IterativeImputer(sample_posterior=True, random_state=0)
    model = make_pipeline(imputer, Ridge()).fit(rows, ROWS[:, 0])

    with pytest.raises(LoadError, match="differently each time"):
        reload(model, tmp_path)
