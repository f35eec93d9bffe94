"""Categories of data frames, whose names XGBoost and LightGBM write into their files."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas
import pytest
import xgboost

from registry.runtimes import lightgbm as lightgbm_runtime
from registry.runtimes import xgboost as xgboost_runtime
from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Runtime
from registry.runtimes.tests.scoring import score
from registry.signatures.completion import complete
from registry.signatures.signature import Input, Signature
from registry.testing.trained_models import as_json_rows
from registry.testing.trained_models import category_frame as frame

N_ROWS = 300
TYPES = {"size": "FP32", "city": "BYTES", "zone": "INT64", "member": "BOOL"}


def target(rows: pandas.DataFrame) -> Any:
    is_far = (rows["city"] == "Oslo") ^ (rows["zone"] == 12) ^ (rows["size"] > 0)
    return is_far ^ (rows["member"] == 1)


def as_rows(rows: pandas.DataFrame) -> list[list[Any]]:
    """The frame as JSON holds it, with the frame's own types."""
    columns = [rows[name].astype(object).tolist() for name in rows]
    return as_json_rows(zip(*columns, strict=True))


def load_xgboost(model: Any, folder: Path, suffix: str = ".ubj") -> Runtime:
    model.save_model(folder / f"m{suffix}")
    return xgboost_runtime.load(folder / f"m{suffix}", LoadOptions())


def load_lightgbm(model: Any, folder: Path) -> Runtime:
    model.booster_.save_model(folder / "m.txt")
    return lightgbm_runtime.load(folder / "m.txt", LoadOptions())


def xgboost_classifier(**options: Any) -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True, **options)


def lightgbm_classifier(**options: Any) -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(
        n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=5, **options
    )


# -- XGBoost


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_xgboost_answers_categories_as_for_a_data_frame(
    booster: str, suffix: str, tmp_path: Path
) -> None:
    rows = frame()
    model = xgboost_classifier(booster=booster).fit(rows, target(rows))
    runtime = load_xgboost(model, tmp_path, suffix)

    outputs = score(runtime, as_rows(rows))

    types = {tensor.name: tensor.datatype for tensor in runtime.signature.inputs}
    assert types == TYPES
    assert all(tensor.nullable for tensor in runtime.signature.inputs)
    expected = model.predict_proba(rows)
    assert len(np.unique(expected[:, 1])) > 10
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-7)


def test_categories_keep_their_order_in_the_frame(tmp_path: Path) -> None:
    rows = frame()
    rows["city"] = rows["city"].cat.set_categories(["Wien", "unused", "Oslo", "Bern"])
    rows["member"] = rows["member"].astype(int)
    labels = target(rows)
    cases: list[tuple[Any, Callable[[Any, Path], Runtime]]] = [
        (xgboost_classifier(), load_xgboost),
        (lightgbm_classifier(), load_lightgbm),
    ]
    for model, load in cases:
        model.fit(rows, labels)

        outputs = score(load(model, tmp_path), as_rows(rows))

        np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(rows), atol=1e-7)


@pytest.mark.parametrize("name", ["Rome", "Zug"])
def test_an_unknown_category_is_refused(name: str, tmp_path: Path) -> None:
    rows = frame()
    model = xgboost_classifier().fit(rows, target(rows))
    unknown = rows[:1].assign(city=pandas.Categorical([name]))

    with pytest.raises(InferenceError) as caught:
        score(load_xgboost(model, tmp_path), as_rows(unknown))

    assert str(caught.value) == (
        f"'{name}' is not one of the 3 categories of 'city': 'Bern', 'Oslo', 'Wien'"
    )
    # XGBoost refuses a name that sorts behind all others; any other it takes for the next name.
    if name == "Zug":
        with pytest.raises(xgboost.core.XGBoostError, match="category not in the training set"):
            model.predict(unknown)


def test_xgboost_takes_booleans_of_a_frame_as_booleans_or_as_0_and_1(tmp_path: Path) -> None:
    rows = frame().drop(columns=["city", "zone"])
    model = xgboost_classifier().fit(rows, rows["member"])
    runtime = load_xgboost(model, tmp_path)
    sent = [[0.5, True], [0.5, 1], [0.5, False], [0.5, 0], [None, None]]

    outputs = score(runtime, sent)

    numbers = np.array(sent, dtype=np.float32)
    expected = model.get_booster().inplace_predict(numbers)
    assert [tensor.datatype for tensor in runtime.signature.inputs] == ["FP32", "BOOL"]
    np.testing.assert_allclose(outputs["probabilities"][:, 1], expected, atol=1e-7)
    booleans = pandas.DataFrame({"size": [0.5, 0.5], "member": [True, False]})
    np.testing.assert_allclose(
        outputs["probabilities"][[0, 2]], model.predict_proba(booleans), atol=1e-7
    )
    assert outputs["label"].tolist()[:4] == [1, 1, 0, 0]


def test_a_matrix_registered_before_columns_were_inputs_is_still_scored(tmp_path: Path) -> None:
    rows = frame().drop(columns=["city", "zone"])
    model = xgboost_classifier().fit(rows, rows["member"])
    matrix = rows.to_numpy(dtype=np.float32)

    outputs = load_xgboost(model, tmp_path).predict({"features": matrix})

    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(rows), atol=1e-7)


def test_categories_without_names_are_refused(tmp_path: Path) -> None:
    codes = np.stack([np.arange(N_ROWS) % 3, np.arange(N_ROWS)], axis=1)
    table = xgboost.DMatrix(
        codes, codes[:, 0] == 1, feature_types=["c", "q"], enable_categorical=True
    )

    with pytest.raises(LoadError, match=r"categorical columns of a data frame \('f0'\), and the"):
        load_xgboost(xgboost.train({"tree_method": "hist"}, table, 2), tmp_path)


def test_names_that_xgboost_cuts_are_refused(tmp_path: Path) -> None:
    rows = frame(city=pandas.Categorical(np.arange(N_ROWS) % 2).rename_categories(["éa", "b"]))
    model = xgboost_classifier().fit(rows, rows["member"])
    # XGBoost counts the characters of names and cuts their bytes: "é" and "a" remain.
    arrow: Any = dict(model.get_booster().get_categories(export_to_arrow=True).to_arrow())
    assert arrow["city"].to_pylist() == ["é", "a"]

    with pytest.raises(LoadError, match="'city' hold characters outside of ASCII"):
        load_xgboost(model, tmp_path)


# -- LightGBM


def test_lightgbm_answers_categories_as_for_a_data_frame(tmp_path: Path) -> None:
    rows = frame(
        grade=pandas.Categorical(np.arange(N_ROWS) % 5 / 2),
        flag=pandas.Categorical(np.arange(N_ROWS) % 3 == 0),
        name=pandas.Categorical(np.arange(N_ROWS) % 2).rename_categories(["éa", "b"]),
        same=pandas.Categorical(["a"] * N_ROWS),
    )
    labels = target(rows) ^ (rows["grade"] == 1.5) ^ (rows["flag"] == True) ^ (rows["name"] == "b")  # noqa: E712
    model = lightgbm_classifier().fit(rows, labels)
    runtime = load_lightgbm(model, tmp_path)

    # LightGBM itself knows nothing of booleans outside of categories.
    outputs = score(runtime, as_rows(rows.astype({"member": int})))

    assert runtime.signature.inputs[1:3] == (
        Input("city", "BYTES", (-1,), nullable=True),
        Input("zone", "INT64", (-1,), nullable=True),
    )
    types = [tensor.datatype for tensor in runtime.signature.inputs]
    assert types == ["FP64", "BYTES", "INT64", "FP64", "FP64", "BOOL", "BYTES", "BYTES"]
    expected = np.asarray(model.predict_proba(rows))
    assert len(np.unique(expected[:, 1])) > 10
    np.testing.assert_array_equal(outputs["probabilities"], expected)


def test_an_unknown_category_is_missing_as_in_lightgbm(tmp_path: Path) -> None:
    rows = frame()
    model = lightgbm_classifier().fit(rows, target(rows))
    unknown = rows[:2].assign(city=pandas.Categorical(["Rome", None]))

    outputs = score(load_lightgbm(model, tmp_path), as_rows(unknown.astype({"member": int})))

    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(unknown))


def test_a_declaration_restores_the_spaces_in_names(tmp_path: Path) -> None:
    rows = frame().rename(columns={"city": "home city", "size": "the size"})
    model = lightgbm_classifier().fit(rows, rows["zone"] == 12)
    runtime = load_lightgbm(model, tmp_path)
    columns = [{"name": name, "datatype": "BYTES"} for name in rows]

    signature = complete(runtime.signature, Signature.from_json({"columns": columns}))

    assert signature.feature_names == ("the size", "home city", "zone", "member")
    outputs = score(runtime, as_rows(rows.astype({"member": int})), signature)
    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(rows))


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (frame(), {"categorical_feature": ["city"]}),
        # One list of categories and one categorical column, which is another one.
        (frame(zone=np.arange(N_ROWS) % 4), {"categorical_feature": ["zone"]}),
        (
            frame(
                city=np.arange(N_ROWS) % 3,
                zone=pandas.Categorical(np.arange(N_ROWS) % 4 + 10),
            ),
            {"categorical_feature": ["city"]},
        ),
        (frame(rank=pandas.Categorical(["a", "b"] * (N_ROWS // 2), ordered=True)), {}),
    ],
)
def test_categories_that_may_be_those_of_other_columns_are_refused(
    rows: pandas.DataFrame, options: dict[str, Any], tmp_path: Path
) -> None:
    model = lightgbm_classifier().fit(rows, np.arange(N_ROWS) % 7 < 3, **options)

    with pytest.raises(LoadError, match="does not say which ones they are"):
        load_lightgbm(model, tmp_path)


# -- both


@pytest.mark.parametrize("load", [load_xgboost, load_lightgbm])
def test_profiles_hold_the_categories(load: Any, tmp_path: Path) -> None:
    rows = frame()
    is_xgboost = load is load_xgboost
    model = xgboost_classifier() if is_xgboost else lightgbm_classifier()

    profiles = load(model.fit(rows, target(rows)), tmp_path).profiles()

    assert profiles[1].choices == ("Bern", "Oslo", "Wien")
    assert profiles[2].choices == (10, 11, 12, 13)
    assert profiles[0].low < 0 < profiles[0].high


@pytest.mark.parametrize("load", [load_xgboost, load_lightgbm])
def test_concurrent_predictions_are_the_librarys_own(load: Any, tmp_path: Path) -> None:
    rows = frame(member=np.arange(N_ROWS) % 2)
    model = xgboost_classifier() if load is load_xgboost else lightgbm_classifier()
    runtime = load(model.fit(rows, target(rows)), tmp_path)
    sent, expected = as_rows(rows), np.asarray(model.predict_proba(rows))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda row: score(runtime, [row])["probabilities"][0], sent))

    np.testing.assert_allclose(answers, expected, atol=1e-7)
