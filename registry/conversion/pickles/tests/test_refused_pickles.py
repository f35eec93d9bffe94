"""Pickles that `convert_pickle` refuses, or warns of."""

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost
from django.core.management import CommandError, call_command
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from registry.conversion.pickles.confinement import probe
from registry.conversion.pickles.tests.commands import error_of, run
from registry.management.commands import convert_pickle

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

ROWS = np.random.default_rng(0).random((90, 3))
LABELS = (ROWS[:, 0] > 0.5).astype(int)


@pytest.fixture(autouse=True)
def _skip_without_protections() -> None:
    if probe().gaps:
        pytest.skip("this system cannot confine a process completely")


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ({"model": 1, "columns": []}, (), "a dict with the keys 'model', 'columns', not a model"),
        ([1, 2], (), "holds a builtins.list, not a model"),
        (LogisticRegression(), (), "is not fitted"),
        (LogisticRegression().fit(ROWS, LABELS), ("--to=native",), "no format of its own"),
        (
            xgboost.XGBClassifier(n_estimators=2, missing=-1.0).fit(ROWS, LABELS),
            (),
            "takes -1.0 for a missing value, which XGBoost's file does not record",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(
    model: Any, more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))

    assert message in error_of(tmp_path / "model.pkl", "--yes", *more)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pkl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "This is not a pickle"),
        (b"c__main__\nMine\n)R.", "your own code"),
        (b"cno_such_package.steps\nStep\n)R.", "pip install no_such_package"),
        (b"csklearn.linear_model.base\nStep\n)R.", "install the version|Install the version"),
        (b"csklearn.linear_model\nNoSuchModel\n)R.", "a name that the installed libraries do not"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_what_to_do(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(content)

    with pytest.raises(CommandError, match=message):
        run(tmp_path / "model.pkl", "--yes")


def test_a_model_file_is_not_a_pickle(tmp_path: Path) -> None:
    joblib.dump(RandomForestClassifier(3).fit(ROWS, LABELS), tmp_path / "model.pkl")
    run(tmp_path / "model.pkl", "--yes")

    message = error_of(tmp_path / "model.skops", "--yes")

    assert "is not a pickle but a file of sklearn" in message
    assert "manage.py register_model" in message
    assert "is a folder" in error_of(tmp_path)
    assert "No such file" in error_of(tmp_path / "gone.pkl")


def test_a_model_of_another_scikit_learn_is_reported(tmp_path: Path) -> None:
    model = LogisticRegression().fit(ROWS, LABELS)
    content = pickle.dumps(model).replace(b"1.9.1", b"1.8.0")
    assert content != pickle.dumps(model)
    (tmp_path / "model.pkl").write_bytes(content)

    output = run(tmp_path / "model.pkl", "--yes")

    assert "LogisticRegression was written by scikit-learn 1.8.0, and is read by" in output


def test_a_system_that_cannot_confine_is_reported_and_not_covered_by_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(ROWS, LABELS)))
    without_files = replace(probe(), files=())
    monkeypatch.setattr(convert_pickle, "probe", lambda: without_files)
    out = io.StringIO()

    with pytest.raises(CommandError, match="--accept-risk"):
        call_command("convert_pickle", str(tmp_path / "model.pkl"), "--yes", stdout=out)

    assert (
        "NOT PROTECTED: on this system the process can read and change every file of your user."
        in out.getvalue()
    )
    assert "Wrote" in run(tmp_path / "model.pkl", "--yes", "--accept-risk")
