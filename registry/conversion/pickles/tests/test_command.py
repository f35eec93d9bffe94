"""`convert_pickle`: what it says, asks, writes and refuses."""

import io
import json
import pickle
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pandas
import pytest
import xgboost
from django.core.management import CommandError, call_command
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from registry.artifacts import proof
from registry.conversion.pickles.confinement import probe
from registry.conversion.pickles.tests.commands import error_of, run
from registry.models import ModelVersion
from registry.runtimes.base import LoadOptions

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

ROWS = np.random.default_rng(0).random((90, 3))
LABELS = (ROWS[:, 0] > 0.5).astype(int)
NAMES = np.array(["no", "yes"])[LABELS]


@pytest.fixture(autouse=True)
def _skip_without_protections() -> None:
    if probe().gaps:
        pytest.skip("this system cannot confine a process completely")


def answers(path: Path, framework: str, declared: Any, rows: list[Any]) -> Any:
    runtime, signature = proof.load_model(
        proof.model_request(
            path, framework=framework, options=LoadOptions(), declared=declared, example=()
        )
    )
    return signature, proof.score_example(runtime, signature, rows)


def as_json(rows: np.ndarray) -> list[Any]:
    return [{"features": row} for row in rows.tolist()]


def declared_in(output: str) -> Any:
    words = shlex.split(output.splitlines()[-1])
    return json.loads(words[-1]) if "--signature" in words else None


def dump_by_pickle(model: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(model))


def dump_by_cloudpickle(model: Any, path: Path) -> None:
    path.write_bytes(cloudpickle.dumps(model))


def dump_by_joblib(model: Any, path: Path) -> None:
    joblib.dump(model, path, compress=("xz", 3))


# -- models


@pytest.mark.parametrize("dump", [dump_by_pickle, dump_by_joblib, dump_by_cloudpickle])
def test_a_forest_becomes_skops_beside_the_pickle(
    dump: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5)).fit(ROWS, NAMES)
    dump(model, tmp_path / "model.pkl")

    output = run(tmp_path / "model.pkl", "--yes")

    signature, outputs = answers(tmp_path / "model.skops", "sklearn", None, as_json(ROWS))
    labels = np.array(signature.outputs[0].classes)[outputs["label"]]
    assert (labels == model.predict(ROWS)).all()
    assert (outputs["probabilities"] == model.predict_proba(ROWS)).all()
    assert "Found sklearn.pipeline.Pipeline; 3 features without names; classes no, yes" in output
    assert "2,000 synthetic rows: all labels are equal, the largest difference is 0" in output


@pytest.mark.parametrize(
    ("model", "suffix", "framework"),
    [
        (xgboost.XGBClassifier(n_estimators=3, verbosity=0), "ubj", "xgboost"),
        (lightgbm.LGBMClassifier(n_estimators=3, verbose=-1), "txt", "lightgbm"),
    ],
)
def test_a_booster_is_written_in_its_own_format(
    model: Any, suffix: str, framework: str, tmp_path: Path
) -> None:
    labels = NAMES if framework == "lightgbm" else LABELS
    joblib.dump(model.fit(ROWS, labels), tmp_path / "model.pkl")

    output = run(tmp_path / "model.pkl", "--yes")

    path = tmp_path / f"model.{suffix}"
    signature, outputs = answers(path, framework, declared_in(output), as_json(ROWS))
    assert list(signature.outputs[0].classes) == np.unique(labels).tolist()
    assert np.allclose(outputs["probabilities"], model.predict_proba(ROWS), rtol=0, atol=1e-7)


@pytest.mark.parametrize("target", [LABELS, np.arange(90) % 3, None])
def test_a_bare_xgboost_booster_is_compared_by_its_own_predictions(
    target: Any, tmp_path: Path
) -> None:
    kind = xgboost.XGBRegressor if target is None else xgboost.XGBClassifier
    model = kind(n_estimators=3, verbosity=0).fit(ROWS, ROWS[:, 1] if target is None else target)
    dump_by_pickle(model.get_booster(), tmp_path / "model.pkl")

    assert "the largest difference is 0" in run(tmp_path / "model.pkl", "--yes")


def test_several_targets_are_compared_one_by_one(tmp_path: Path) -> None:
    both = np.stack([LABELS, 1 - LABELS], axis=1)
    joblib.dump(MultiOutputClassifier(LogisticRegression()).fit(ROWS, both), tmp_path / "model.pkl")
    joblib.dump(LinearRegression().fit(ROWS, both), tmp_path / "values.pkl")

    assert "the largest difference is 0" in run(tmp_path / "model.pkl", "--yes")
    assert "the largest difference is 0" in run(tmp_path / "values.pkl", "--yes")


def test_a_text_model_is_compared(tmp_path: Path) -> None:
    texts = np.array(["good film", "bad film", "dull"] * 9, dtype=object)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    joblib.dump(model.fit(texts, texts == "good film"), tmp_path / "model.pkl")

    assert "classes False, True" in run(tmp_path / "model.pkl", "--yes")


def test_columns_of_several_types_are_compared_on_example_rows(tmp_path: Path) -> None:
    table = pandas.DataFrame(
        {
            "city": np.array(["Oslo", np.nan, "Rome"] * 6, dtype=object),
            "age": [20.0, np.nan, 40.0] * 6,
            "n": range(18),
        }
    )
    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(), ["city"]),
            ("age", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            ("n", "passthrough", ["n"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(table, ["a", "b", "b"] * 6)
    joblib.dump(model, tmp_path / "model.pkl")
    example = json.dumps(
        [{"city": "Oslo", "age": None, "n": 3}, {"city": None, "age": 2.5, "n": 1}]
    )

    output = run(tmp_path / "model.pkl", "--yes", f"--example={example}")

    assert "features city, age, n" in output
    # The types that the rows showed, without which the file cannot be registered.
    types = {column["name"]: column["datatype"] for column in declared_in(output)["inputs"]}
    assert types["n"] == "INT64"
    assert "Compared with the pickle on 2 example rows" in output


@pytest.mark.django_db
def test_the_command_that_it_prints_registers_the_file(tmp_path: Path, model_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(ROWS, NAMES)
    joblib.dump(model, tmp_path / "my model.pkl")

    output = run(tmp_path / "my model.pkl", "--yes", "--to=onnx")

    words = shlex.split(output.splitlines()[-1])
    assert words[:3] == ["python", "manage.py", "register_model"]
    call_command(*words[2:], stdout=io.StringIO())
    version = ModelVersion.objects.get()
    assert version.framework == "onnx"
    assert version.signature["outputs"][0]["classes"] == ["no", "yes"]


# -- asking


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    joblib.dump(RandomForestClassifier(3).fit(ROWS, LABELS), tmp_path / "model.pkl")
    return tmp_path / "model.pkl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_and_without_yes_nothing_is_loaded(
    forest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    assert "run the command again with --yes" in error_of(forest)
    assert not forest.with_suffix(".skops").exists()


@pytest.mark.parametrize(("typed", "is_written"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_in_a_terminal_it_asks(
    forest: Path, monkeypatch: pytest.MonkeyPatch, typed: str, is_written: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))

    if is_written:
        run(forest)
    else:
        assert error_of(forest) == "Not loaded."

    assert forest.with_suffix(".skops").exists() == is_written


class Runs:
    """Executes a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        import os

        return os.system, (self.command,)


def test_what_a_dangerous_pickle_runs_is_shown_and_never_covered_by_yes(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    dump_by_pickle(Runs(f"touch {mark}"), tmp_path / "model.pkl")
    out = io.StringIO()

    with pytest.raises(CommandError, match="--accept-risk"):
        call_command("convert_pickle", str(tmp_path / "model.pkl"), "--yes", stdout=out)

    shown = f"DANGEROUS, can run any code: posix.system, called with ('touch {mark}')"
    assert shown in out.getvalue()
    assert not mark.exists()

    # Even if it is accepted, the confined process starts no other.
    message = error_of(tmp_path / "model.pkl", "--yes", "--accept-risk")
    assert "holds a builtins.int, not a model" in message
    assert not mark.exists()


def test_a_name_that_controls_the_terminal_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"cmy\x1b[2Kmodule\nName\n)R.")
    out = io.StringIO()

    with pytest.raises(CommandError):
        call_command("convert_pickle", str(tmp_path / "model.pkl"), stdout=out)

    assert "\x1b" not in out.getvalue()
    assert "\\x1b[2Kmodule.Name" in out.getvalue()


# -- the output


def test_an_existing_file_is_replaced_only_by_force(forest: Path) -> None:
    output = forest.with_suffix(".skops")
    output.write_text("mine")

    assert "exists already" in error_of(forest, "--yes")
    assert "exists already" in error_of(forest, "--yes", f"--output={output}")
    assert output.read_text() == "mine"

    run(forest, "--yes", "--force")
    assert output.read_bytes().startswith(b"PK")
    assert {path.name for path in forest.parent.iterdir()} == {"model.pkl", "model.skops"}


def test_the_output_can_be_named(forest: Path, tmp_path: Path) -> None:
    run(forest, "--yes", f"--output={tmp_path / 'other.skops'}")

    assert (tmp_path / "other.skops").read_bytes().startswith(b"PK")
    assert "is a folder" in error_of(forest, "--yes", f"--output={tmp_path}")
