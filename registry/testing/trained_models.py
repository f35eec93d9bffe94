"""Tiny real models of every framework, trained here and written like a user would."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas
import pyarrow
import skops.io
import xgboost
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

# By default, CatBoost writes into the current folder and to standard output, and uses every core.
CATBOOST_OPTIONS: dict[str, Any] = {
    "iterations": 5,
    "thread_count": 1,
    "verbose": False,
    "allow_writing_files": False,
}


@dataclass(frozen=True)
class Trained:
    """A file, the fitted estimator in it, and rows to score: an array or a pyarrow.Table."""

    path: Path
    estimator: Any
    rows: Any


def iris_skops(path: Path) -> Trained:
    """A scaled logistic regression with three integer classes."""
    rows, species = load_iris(return_X_y=True)
    return _skops(path, make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, species))


def wine_skops(path: Path) -> Trained:
    """A forest with feature names and text classes."""
    data = load_wine()
    names = [f"cultivar {i}" for i in data.target]
    table = pyarrow.table({n: data.data[:, i] for i, n in enumerate(data.feature_names)})
    forest = RandomForestClassifier(n_estimators=10, random_state=0).fit(table, names)
    return _skops(path, forest, data.data)


def diabetes_skops(path: Path) -> Trained:
    """A regression."""
    rows, progression = load_diabetes(return_X_y=True)
    return _skops(path, Ridge().fit(rows, progression), rows)


def histogram_skops(path: Path) -> Trained:
    """A histogram gradient boosting model, which accepts missing values."""
    rows, species = load_iris(return_X_y=True)
    return _skops(path, HistGradientBoostingClassifier(max_iter=5).fit(rows, species), rows)


def reviews_table(n: int = 60) -> pyarrow.Table:
    """Named columns of texts, categories and numbers, one of them missing."""
    random = np.random.default_rng(0)
    age = random.uniform(18, 80, n)
    age[3] = np.nan
    return pyarrow.table(
        {
            "age": age,
            "city": pyarrow.array(random.choice(["Bern", "Köln", "Wien"], n).tolist()),
            "review": pyarrow.array(random.choice(["good film", "bad film", "dull"], n).tolist()),
            "seats": random.integers(1, 5, n),
        }
    )


def category_frame(**columns: Any) -> pandas.DataFrame:
    """300 rows of numbers, categories of texts and of integers, and booleans; numbers and texts are
    missing in some. Single precision holds the numbers.
    """
    random = np.random.default_rng(0)
    city = random.choice(["Oslo", "Bern", "Wien"], 300).astype(object)
    city[::11] = None
    size = random.normal(size=300).astype(np.float32)
    size[::7] = np.nan
    return pandas.DataFrame(
        {
            "size": size,
            "city": pandas.Categorical(city),
            "zone": pandas.Categorical(random.integers(10, 14, 300)),
            "member": random.random(300) < 0.5,
            **columns,
        }
    )


def as_json_rows(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """The rows as JSON holds them: null for NaN."""
    return [[None if value != value else value for value in row] for row in rows]


def mixed_skops(path: Path) -> Trained:
    """A pipeline of named columns: a text, a category, a number with missing values, and one that
    is passed through.
    """
    table = reviews_table()
    labels = ["yes" if "good" in text else "no" for text in table["review"].to_pylist()]
    columns = ColumnTransformer(
        [
            ("age", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("review", _ScalarTfidf(), "review"),
            ("seats", FunctionTransformer(np.asarray), ["seats"]),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("classify", LogisticRegression())])
    pipeline.fit(table, labels)
    fitted = copy.deepcopy(pipeline)
    # As in the file of a pandas user: a plain vectorizer, and the fitted form of "passthrough".
    columns.set_params(review=TfidfVectorizer(), seats="passthrough")
    columns.named_transformers_["review"].__class__ = TfidfVectorizer
    columns.named_transformers_["seats"].set_params(func=None, feature_names_out="one-to-one")
    return Trained(_skops(path, pipeline).path, fitted, table)


class _ScalarTfidf(TfidfVectorizer):  # type: ignore[misc] # The library is not typed.
    """Takes the texts of a pyarrow column."""

    def decode(self, doc: object) -> str:
        return str(super().decode(doc.as_py() if isinstance(doc, pyarrow.Scalar) else doc))


def text_skops(path: Path) -> Trained:
    """A pipeline that takes one text per row."""
    texts = np.array(reviews_table()["review"].to_pylist(), dtype=object)
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return _skops(path, pipeline.fit(texts, [text == "dull" for text in texts]), texts)


def _skops(path: Path, estimator: Any, rows: Any = None) -> Trained:
    skops.io.dump(estimator, path)
    return Trained(path, estimator, load_iris().data if rows is None else rows)


def _onnx(path: Path, estimator: Any, rows: Any, **options: Any) -> Trained:
    path.write_bytes(to_onnx(estimator, **options).SerializeToString())
    return Trained(path, estimator, rows)


def iris_onnx(path: Path, *, zipmap: bool = False, batch: int | None = None) -> Trained:
    """A classifier with text classes and one input tensor, optionally with ZipMap or a fixed batch
    size.
    """
    data = load_iris()
    names = data.target_names[data.target]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, names)
    types = [("X", FloatTensorType([batch, 4]))]
    options = {id(model): {"zipmap": zipmap}}
    rows = data.data.astype(np.float32)
    return _onnx(path, model, rows, initial_types=types, options=options)


def diabetes_onnx(path: Path) -> Trained:
    """A regression with one input tensor."""
    rows, progression = load_diabetes(return_X_y=True)
    model = Ridge().fit(rows, progression)
    return _onnx(path, model, rows.astype(np.float32), X=rows[:1].astype(np.float32))


def columns_onnx(path: Path) -> Trained:
    """A classifier with a text input and a number input."""
    table = reviews_table()
    cells = np.array([table["city"].to_pylist(), table["seats"].to_pylist()], dtype=object).T
    columns = ColumnTransformer(
        [("city", OneHotEncoder(), [0]), ("seats", StandardScaler(), [1])],
    )
    seats = np.array(table["seats"].to_pylist())
    model = make_pipeline(columns, LogisticRegression()).fit(cells, (seats > 2).astype(int))
    types = [("city", StringTensorType([None, 1])), ("seats", FloatTensorType([None, 1]))]
    return _onnx(path, model, cells, initial_types=types, options={id(model): {"zipmap": False}})


def iris_xgboost(path: Path) -> Trained:
    """A classifier of three classes; the suffix of the path decides the format."""
    rows, species = load_iris(return_X_y=True)
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(rows, species)
    return _saved(path, model, model.save_model, rows)


def diabetes_xgboost(path: Path) -> Trained:
    """A regression."""
    rows, progression = load_diabetes(return_X_y=True)
    model = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(rows, progression)
    return _saved(path, model, model.save_model, rows)


def iris_lightgbm(path: Path) -> Trained:
    """A classifier of three classes."""
    rows, species = load_iris(return_X_y=True)
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(rows, species)
    return _saved(path, model, model.booster_.save_model, rows)


def diabetes_lightgbm(path: Path) -> Trained:
    """A regression."""
    rows, progression = load_diabetes(return_X_y=True)
    model = lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1).fit(rows, progression)
    return _saved(path, model, model.booster_.save_model, rows)


def iris_catboost(path: Path) -> Trained:
    """A classifier of three text classes."""
    data = load_iris()
    model = catboost.CatBoostClassifier(**CATBOOST_OPTIONS)
    model.fit(data.data, data.target_names[data.target])
    return _saved(path, model, model.save_model, data.data)


def diabetes_catboost(path: Path) -> Trained:
    """A regression."""
    rows, progression = load_diabetes(return_X_y=True)
    model = catboost.CatBoostRegressor(**CATBOOST_OPTIONS).fit(rows, progression)
    return _saved(path, model, model.save_model, rows)


def reviews_catboost(path: Path) -> Trained:
    """A classifier of named columns: a number with missing values, a category of texts, a text,
    and a category of integers. The rows are an array of objects.
    """
    table = reviews_table()
    columns = [table[name].to_pylist() for name in table.column_names]
    rows = np.array(columns, dtype=object).T
    labels = ["yes" if "good" in text else "no" for text in columns[2]]
    pool = catboost.Pool(
        rows,
        labels,
        cat_features=[1, 3],
        text_features=[2],
        feature_names=table.column_names,
    )
    model = catboost.CatBoostClassifier(**CATBOOST_OPTIONS).fit(pool)
    return _saved(path, model, model.save_model, rows)


def _saved(path: Path, model: Any, save: Callable[[Path], Any], rows: Any) -> Trained:
    save(path)
    return Trained(path, model, rows)
