"""Columns, missing values and files of CatBoost models."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import catboost
import numpy as np
import pytest
from sklearn.datasets import load_iris

from registry.runtimes.base import InferenceError, LoadError
from registry.runtimes.tests.catboost_models import classifier, load, regressor, reload
from registry.runtimes.tests.scoring import score
from registry.signatures.completion import complete
from registry.signatures.signature import Input, Signature
from registry.testing import trained_models
from registry.testing.trained_models import as_json_rows

ROWS, SPECIES = load_iris(return_X_y=True)
SIZES = ROWS[:, 0]


# -- columns


def test_numbers_are_one_matrix_with_the_names_of_the_file(tmp_path: Path) -> None:
    pool = catboost.Pool(ROWS[:, :2], SPECIES, feature_names=["length", "width"])

    assert reload(classifier().fit(pool), tmp_path).signature.inputs == (
        Input("features", "FP32", (-1, 2), ("length", "width"), nullable=True),
    )
    default_names = reload(classifier().fit(ROWS[:, :2], SPECIES), tmp_path).signature.inputs
    assert default_names[0].features == ()


def test_each_column_is_an_input_if_some_are_not_numbers(tmp_path: Path) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "m.cbm")
    runtime = load(trained.path)

    outputs = score(runtime, as_json_rows([*row[:3], str(row[3])] for row in trained.rows))

    assert runtime.signature.inputs == (
        Input("age", "FP32", (-1,), nullable=True),
        Input("city", "BYTES", (-1,)),
        Input("review", "BYTES", (-1,)),
        Input("seats", "BYTES", (-1,)),
    )
    expected = trained.estimator.predict_proba(trained.rows)
    assert np.ptp(expected, axis=0).all()
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-12)


def test_a_category_may_be_declared_as_an_integer(tmp_path: Path) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "m.cbm")
    runtime = load(trained.path)
    declared = Signature.from_json({"inputs": [{"name": "seats", "datatype": "INT64"}]})
    signature = complete(runtime.signature, declared)

    outputs = score(runtime, as_json_rows(trained.rows), signature)

    assert [tensor.datatype for tensor in signature.inputs] == ["FP32", "BYTES", "BYTES", "INT64"]
    expected = trained.estimator.predict_proba(trained.rows)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-12)


def test_example_rows_show_that_a_category_is_an_integer(tmp_path: Path) -> None:
    runtime = load(trained_models.reviews_catboost(tmp_path / "m.cbm").path)
    row = {"age": 20.5, "city": "Bern", "review": "dull", "seats": 3}

    signature = complete(runtime.signature, None, [row])

    assert [tensor.datatype for tensor in signature.inputs] == ["FP32", "BYTES", "BYTES", "INT64"]


def test_a_category_of_booleans_is_the_one_that_the_library_makes_of_them(tmp_path: Path) -> None:
    rows = np.empty((150, 2), object)
    rows[:, 0], rows[:, 1] = SPECIES == 1, ROWS[:, 0]
    model = classifier(cat_features=[0]).fit(rows, SPECIES == 1)
    runtime = reload(model, tmp_path)
    declared = Signature.from_json({"inputs": [{"name": "0", "datatype": "BOOL"}]})

    outputs = score(runtime, rows.tolist(), complete(runtime.signature, declared))

    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(rows), atol=1e-12)
    assert outputs["label"].astype(bool).tolist() == (SPECIES == 1).tolist()


def test_a_category_may_be_an_integer_of_64_bits_without_sign(tmp_path: Path) -> None:
    rows = np.empty((150, 2), object)
    rows[:, 0], rows[:, 1] = np.where(SPECIES == 1, "9223372036854775809", "7"), ROWS[:, 0]
    model = classifier(cat_features=[0]).fit(rows, SPECIES == 1)
    runtime = reload(model, tmp_path)
    declared = Signature.from_json({"inputs": [{"name": "0", "datatype": "UINT64"}]})

    sent = [[int(category), number] for category, number in rows]
    outputs = score(runtime, sent, complete(runtime.signature, declared))

    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(rows), atol=1e-12)


def test_numbers_declared_as_booleans_and_integers_are_columns(tmp_path: Path) -> None:
    rows = np.stack([SPECIES == 1, np.round(ROWS[:, 0]), ROWS[:, 1]], axis=1)
    runtime = reload(model := classifier().fit(rows, SPECIES), tmp_path)
    declared = Signature.from_json(
        {
            "columns": [
                {"name": "member", "datatype": "BOOL"},
                {"name": "visits", "datatype": "INT64"},
                {"name": "age", "datatype": "FP64"},
            ]
        }
    )
    signature = complete(runtime.signature, declared)

    values = [[bool(a), int(b), float(c)] for a, b, c in rows]
    outputs = score(runtime, [*values, [None, None, None]], signature)

    with_missing = np.concatenate([rows, np.full((1, 3), np.nan)])
    expected = model.predict_proba(with_missing)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-12)


def test_a_model_without_its_unused_columns_takes_the_others_by_name(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 4))
    model = regressor(depth=1).fit(rows, rows[:, 1] + rows[:, 3])
    expected = model.predict(rows)
    model.drop_unused_features()
    runtime = reload(model, tmp_path)

    assert [tensor.name for tensor in runtime.signature.inputs] == model.feature_names_
    used = [int(name) for name in model.feature_names_]
    assert 0 not in used
    outputs = score(runtime, rows[:, used].tolist())
    np.testing.assert_allclose(outputs["value"], expected, atol=1e-12)


def test_embeddings_are_refused(tmp_path: Path) -> None:
    rows = np.empty((150, 2), object)
    rows[:, 0], rows[:, 1] = list(ROWS.tolist()), SIZES
    pool = catboost.Pool(rows, SPECIES == 1, embedding_features=[0])

    with pytest.raises(LoadError, match="takes embeddings"):
        reload(classifier().fit(pool), tmp_path)


# -- missing values


@pytest.mark.parametrize(
    ("mode", "is_missing_in_training", "nullable"),
    [
        ("Min", True, [True, True]),
        ("Min", False, [True, True]),
        ("Max", True, [False, True]),
        ("Max", False, [False]),
        ("Forbidden", False, [False]),
    ],
)
def test_missing_numbers_are_accepted_as_in_training(
    mode: str, is_missing_in_training: bool, nullable: list[bool], tmp_path: Path
) -> None:
    rows = ROWS[:, :2].copy()
    if is_missing_in_training:
        rows[::7, 1] = np.nan
    model = classifier(nan_mode=mode).fit(rows, SPECIES)
    runtime = reload(model, tmp_path)

    given = [tensor.nullable for tensor in runtime.signature.inputs]
    assert given == (nullable if len(set(nullable)) > 1 else nullable[:1])
    if is_missing_in_training:
        outputs = score(runtime, as_json_rows(rows.tolist()))
        np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(rows), atol=1e-12)


@pytest.mark.parametrize("column", ["city", "review", "seats"])
def test_missing_categories_and_texts_are_refused_as_by_the_library(
    column: str, tmp_path: Path
) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "m.cbm")
    row = trained.rows[:1].copy()
    position = ["age", "city", "review", "seats"].index(column)
    row[0, position] = np.nan

    with pytest.raises(catboost.CatBoostError):
        trained.estimator.predict(row)
    runtime = load(trained.path)
    assert not runtime.signature.inputs[position].nullable
    # MLflow may declare the column optional.
    declared = Signature.from_json({"inputs": [{"name": column, "nullable": True}]})
    sent = as_json_rows([[*row[0, :3], str(row[0, 3])]])
    sent[0][position] = None
    with pytest.raises(InferenceError, match=f"CatBoost takes no missing value in '{column}'"):
        score(runtime, sent, complete(runtime.signature, declared))


# -- the file


def test_the_runtime_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "m.cbm")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    capfd.readouterr()

    runtime = load(trained.path)
    score(runtime, [[30.0, "Bern", "good film", "2"]])

    assert list((tmp_path / "empty").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_concurrent_predictions_are_the_librarys_own(tmp_path: Path) -> None:
    trained = trained_models.reviews_catboost(tmp_path / "m.cbm")
    runtime = load(trained.path)
    rows = as_json_rows([*row[:3], str(row[3])] for row in trained.rows)
    expected = trained.estimator.predict_proba(trained.rows)

    def score_one(i: int) -> np.ndarray:
        probabilities: np.ndarray = score(runtime, [rows[i]])["probabilities"][0]
        return probabilities

    indexes = np.random.default_rng(0).integers(len(rows), size=200).tolist()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(score_one, indexes))

    np.testing.assert_allclose(answers, expected[indexes], atol=1e-12)


def test_the_version_that_wrote_the_file_is_read(tmp_path: Path) -> None:
    runtime = load(trained_models.iris_catboost(tmp_path / "m.cbm").path)

    assert runtime.libraries == {"catboost": catboost.__version__}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:8],
        lambda content: content[:4],
        lambda content: b"CBM1" + b"\x00" * 100,
    ],
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = trained_models.iris_catboost(tmp_path / "m.cbm").path
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(LoadError, match="CatBoost cannot read the file"):
        load(path)


def test_an_index_that_leads_out_of_a_table_is_refused(tmp_path: Path) -> None:
    rows = np.array([["a", "b", "c", "d"] * 25, range(100)], dtype=object).T
    # Without the limit, few categories would be splits of their own, without tables.
    model = classifier(cat_features=[0], one_hot_max_size=1).fit(rows, rows[:, 0] == "a")
    model.save_model(tmp_path / "m.cbm")
    content = (tmp_path / "m.cbm").read_bytes()
    empty = b"\xff" * 8 + b"\x00" * 4
    start = 8 + int.from_bytes(content[4:8], "little")
    tables = content[start:]
    first = tables.index(empty)
    damaged = bytearray(tables)
    for at in range(first % 12, len(tables) - 12, 12):
        if first <= at < first + 96 and tables[at : at + 12] != empty:
            damaged[at + 11] = 1

    load(tmp_path / "m.cbm")
    (tmp_path / "m.cbm").write_bytes(content[:start] + bytes(damaged))

    with pytest.raises(LoadError, match="a table of its categories leads out of the file"):
        load(tmp_path / "m.cbm")


def test_a_row_that_catboost_cannot_read_is_an_inference_error(tmp_path: Path) -> None:
    runtime = load(trained_models.iris_catboost(tmp_path / "m.cbm").path)

    with pytest.raises(InferenceError):
        runtime.predict({"features": np.ones((1, 3))})


def test_profiles_hold_the_range_of_the_numbers(tmp_path: Path) -> None:
    rows = ROWS.copy()
    # The border between missing values and numbers is the smallest float there is.
    rows[::3, 2] = np.nan

    profiles = reload(classifier().fit(rows, SPECIES), tmp_path).profiles()

    assert 2 in profiles
    for i, profile in profiles.items():
        assert np.nanmin(rows[:, i]) <= profile.low <= profile.high <= np.nanmax(rows[:, i])
