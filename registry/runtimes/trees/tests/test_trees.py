"""Files whose trees would loop for ever, or leave the memory of the model, are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from registry.runtimes import lightgbm as lightgbm_runtime
from registry.runtimes import xgboost as xgboost_runtime
from registry.runtimes.base import LoadError, LoadOptions, hazard_of
from registry.runtimes.sklearn.boosters import check_texts
from registry.runtimes.trees.lightgbm import check_text
from registry.runtimes.trees.ubjson import read_ubjson

RANDOM = np.random.default_rng(0)
ROWS = np.column_stack([RANDOM.normal(size=(400, 3)), RANDOM.integers(0, 5, 400)])
NUMBERS = ROWS[:, 0] + 5 * (ROWS[:, 3] % 2)
OPTIONS = LoadOptions()


@pytest.fixture(scope="module")
def text() -> str:
    data = lightgbm.Dataset(ROWS, NUMBERS, categorical_feature=[3])
    parameters = {"verbose": -1, "num_leaves": 6, "max_cat_to_onehot": 1, "min_data_per_group": 5}
    return str(lightgbm.train(parameters, data, num_boost_round=3).model_to_string())


@pytest.fixture(scope="module")
def linear_text() -> str:
    data = lightgbm.Dataset(ROWS, NUMBERS)
    parameters = {"verbose": -1, "num_leaves": 6, "linear_tree": True}
    return str(lightgbm.train(parameters, data, num_boost_round=3).model_to_string())


def replace_value(text: str, name: str, place: int, value: object) -> str:
    """The text with another value in the first list of that name."""
    start = text.index(f"\n{name}=") + len(name) + 2
    values = text[start : text.index("\n", start)].split(" ")
    values[place] = str(value)
    changed = " ".join(values)
    end = text.index("\n", start)
    return text[:start] + changed + text[end:]


def without_sizes(text: str) -> str:
    """The text without the sizes of the trees, which a change makes wrong."""
    return "\n".join(line for line in text.split("\n") if not line.startswith("tree_sizes="))


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("left_child", 0, 0, "invalid branch"),
        ("right_child", -1, 0, "invalid branch"),
        ("left_child", 0, 99, "invalid branch"),
        ("left_child", -1, -99, "invalid leaf"),
        ("split_feature", 0, 4, "another number of features"),
        ("split_feature", 0, -1, "another number of features"),
        ("cat_boundaries", -1, 10**6, "invalid category"),
        ("num_leaves", 0, 7, "wrong size"),
        ("max_feature_idx", 0, 1, "another number of features"),
        ("num_tree_per_iteration", 0, 2, "another number of classes"),
        ("split_feature", 0, "1_0", "are not integers"),
    ],
)
def test_a_damaged_lightgbm_text_is_refused(
    name: str, place: int, value: object, message: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.txt"
    path.write_text(replace_value(without_sizes(text), name, place, value))

    with pytest.raises(LoadError, match=message):
        lightgbm_runtime.load(path, OPTIONS)


@pytest.mark.parametrize(
    "damage",
    [
        # LightGBM would read a tree at another place than it stands.
        lambda text: replace_value(text, "tree_sizes", 0, 10),
        # LightGBM takes the last of two.
        lambda text: text.replace("\nnum_cat=", "\nleft_child=0 0 0 0 0\nnum_cat=", 1),
        lambda text: text.replace("\nnum_cat=", "\r\nnum_cat=", 1),
        lambda text: text[: text.index("\nTree=")],
    ],
    ids=["sizes", "repeated", "carriage return", "no trees"],
)
def test_a_text_that_lightgbm_reads_differently_is_refused(
    damage: Callable[[str], str], text: str
) -> None:
    with pytest.raises(LoadError):
        check_text(damage(text))


def test_lightgbms_own_texts_pass(text: str, linear_text: str) -> None:
    check_text(text)
    check_text(linear_text)


@pytest.mark.parametrize(
    ("written", "escaped"), [("\\nTree=", "\\u000aTree="), ("\\nTree=", "\\nTr\\u0065e=")]
)
def test_a_text_in_a_skops_file_is_checked_however_its_json_writes_it(
    written: str, escaped: str, text: str
) -> None:
    damaged = replace_value(text, "split_feature", 0, 1000)
    content = json.dumps(damaged).replace(written, escaped)
    schema = json.dumps({"__module__": "lightgbm.basic", "content": content})

    with pytest.raises(LoadError, match=r"another number of features|other sizes"):
        check_texts(schema.encode())


def test_a_linear_leaf_of_an_unknown_feature_is_refused(linear_text: str) -> None:
    name = "leaf_features"
    for tree in linear_text.split("\n\nTree=")[1:]:
        line = next(line for line in tree.split("\n") if line.startswith(f"{name}="))
        if line.strip() != f"{name}=":
            wrong = line.split("=")[1].translate(str.maketrans("0123", "9999"))
            damaged = linear_text.replace(line, f"{name}={wrong}")
            with pytest.raises(LoadError):
                check_text(without_sizes(damaged))
            return
    pytest.skip("no leaf has a feature")


# -- XGBoost


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    model = xgboost.XGBRegressor(n_estimators=2, max_depth=3).fit(ROWS, NUMBERS)
    model.save_model(tmp_path / "model.json")
    loaded: dict[str, Any] = json.loads((tmp_path / "model.json").read_text())
    return loaded


def load_xgboost(document: dict[str, Any], path: Path) -> xgboost_runtime.XGBoostRuntime:
    path.write_text(json.dumps(document))
    return xgboost_runtime.load(path, OPTIONS)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("left_children", 0, 0),
        ("left_children", 1, 0),
        ("right_children", 1, 2),
        ("split_indices", 0, 4),
        ("split_indices", 0, 10**6),
    ],
)
def test_a_damaged_xgboost_tree_is_refused(
    name: str, place: int, value: int, document: dict[str, Any], tmp_path: Path
) -> None:
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"][0][name][place] = value

    with pytest.raises(LoadError):
        load_xgboost(document, tmp_path / "damaged.json")


def test_a_tree_of_an_unknown_group_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    document["learner"]["gradient_booster"]["model"]["tree_info"][0] = 7

    with pytest.raises(LoadError, match="unknown group"):
        load_xgboost(document, tmp_path / "damaged.json")


def test_xgboosts_own_trees_pass(document: dict[str, Any], tmp_path: Path) -> None:
    assert hazard_of(load_xgboost(document, tmp_path / "model.json")) == ""


def test_leaves_of_several_values_are_not_checked(tmp_path: Path) -> None:
    targets = ROWS[:, :2]
    model = xgboost.XGBRegressor(n_estimators=2, multi_strategy="multi_output_tree")
    model.fit(ROWS, targets).save_model(tmp_path / "model.ubj")

    assert "several values" in hazard_of(xgboost_runtime.load(tmp_path / "model.ubj", OPTIONS))


@pytest.mark.parametrize("content", [b"[", b"{L", b"[$d#L\xff", b"q", b"[$i#L" + b"\x7f" * 8])
def test_damaged_ubjson_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="UBJSON"):
        read_ubjson(content)
