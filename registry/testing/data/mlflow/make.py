"""Regenerates the folders beside this file with mlflow; see README.md. The tests do not run it."""

import json
import os
import shutil
import warnings
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
warnings.simplefilter("ignore")

import lightgbm
import mlflow.lightgbm
import mlflow.onnx
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import onnx
import pandas as pd
import xgboost
from fastapi.testclient import TestClient
from mlflow.models import infer_signature
from mlflow.pyfunc.scoring_server import init
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

HERE = Path(__file__).resolve().parent
MAX_BYTES = 30_000
KEPT = {"MLmodel", "model.skops", "model.onnx", "model.ubj", "model.lgb", "model.pkl"}

iris = load_iris(as_frame=True)
X, y = iris.data, iris.target
NAMES = list(X.columns)
people = pd.DataFrame(
    {
        "city": ["Oslo", "Rome", "Oslo", "Rome"] * 5,
        "seats": np.arange(20, dtype=np.int64) % 5,
        "unused": [0.5] * 20,
    }
)


def frame_bodies(frame: pd.DataFrame) -> list:
    split = frame.to_dict(orient="split")
    by_column = {name: frame[name].tolist() for name in frame}
    return [
        {"dataframe_split": split},
        {"dataframe_split": {k: split[k] for k in ("columns", "data")}},
        {"dataframe_records": frame.to_dict(orient="records")},
        {"instances": frame.to_dict(orient="records")},
        {"inputs": by_column},
        {"inputs": frame.to_dict(orient="records")},
        # A column that the signature does not have: mlflow drops it.
        {"dataframe_records": frame.assign(extra=1).to_dict(orient="records")},
        # The columns in another order.
        {"dataframe_records": frame[frame.columns[::-1]].to_dict(orient="records")},
    ]


def array_bodies(rows: np.ndarray) -> list:
    return [{"instances": rows.tolist()}, {"inputs": rows.tolist()}]


def save_all() -> dict:
    numbers = X.to_numpy()
    classifier = LogisticRegression(max_iter=500).fit(X, iris.target_names[y])
    save("sklearn_classifier", mlflow.sklearn, classifier, X, serialization_format="skops")
    regressor = LinearRegression().fit(numbers, np.stack([y, 2.5 * y], axis=1))
    save("sklearn_two_targets", mlflow.sklearn, regressor, numbers, serialization_format="skops")
    columns = ColumnTransformer(
        [("city", OneHotEncoder(), ["city"]), ("n", "passthrough", ["seats"])]
    )
    mixed = make_pipeline(columns, LinearRegression()).fit(people, np.arange(20.0))
    save("sklearn_mixed", mlflow.sklearn, mixed, people, serialization_format="skops")
    save("sklearn_pickle", mlflow.sklearn, classifier, X, serialization_format="pickle")
    wrapper = xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(X, y)
    save("xgboost_classifier", mlflow.xgboost, wrapper, X)
    save("xgboost_booster", mlflow.xgboost, wrapper.get_booster(), None)
    binary = xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(X, y > 1)
    save("xgboost_binary_booster", mlflow.xgboost, binary.get_booster(), None)
    boosted = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=3, verbose=-1).fit(X, y)
    save("lightgbm_booster", mlflow.lightgbm, boosted.booster_, X)
    wrapped = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=3, verbose=-1)
    save("lightgbm_classifier", mlflow.lightgbm, wrapped.fit(X, iris.target_names[y]), X)
    save("lightgbm_pickle", mlflow.lightgbm, wrapped, X, serialization_format="cloudpickle")
    numbered = LogisticRegression(max_iter=500).fit(numbers, y)
    graph = to_onnx(numbered, numbers[:1].astype(np.float32), options={"zipmap": False})
    save("onnx_classifier", mlflow.onnx, graph, numbers.astype(np.float32))
    graph = to_onnx(LinearRegression().fit(numbers, y), numbers[:1].astype(np.float32))
    save("onnx_regressor", mlflow.onnx, graph, numbers.astype(np.float32))
    save("onnx_external_data", mlflow.onnx, wide_graph(), None)
    rows, table = numbers[::40], X.iloc[::40]
    return {
        "sklearn_classifier": frame_bodies(table),
        "sklearn_two_targets": array_bodies(rows),
        "sklearn_mixed": frame_bodies(people.iloc[:3]),
        "xgboost_classifier": frame_bodies(table),
        "xgboost_booster": [{"dataframe_split": table.to_dict(orient="split")}],
        "xgboost_binary_booster": [{"dataframe_split": table.to_dict(orient="split")}],
        "lightgbm_booster": frame_bodies(table),
        "lightgbm_classifier": frame_bodies(table),
        "onnx_classifier": array_bodies(rows),
        "onnx_regressor": array_bodies(rows),
    }


def wide_graph() -> onnx.ModelProto:
    """A graph whose weights exceed a kilobyte, which onnx then writes to a second file."""
    weights = np.random.default_rng(0).random((256, 2), np.float32)
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])
        for name, width in (("x", 256), ("y", 2))
    )
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    initializer = onnx.numpy_helper.from_array(weights, "w")
    graph = onnx.helper.make_graph([node], "wide", [x], [y], [initializer])
    opsets = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)


def save(name: str, flavor: object, model: object, rows: object, **options: object) -> None:
    signature = None
    if rows is not None:
        is_onnx = flavor is mlflow.onnx
        signature = infer_signature(rows, None if is_onnx else model.predict(rows))
    shutil.rmtree(HERE / name, ignore_errors=True)
    flavor.save_model(model, HERE / name, signature=signature, **options)


def repack(path: Path) -> None:
    """Compress the archive, like `skops.io.dump(..., compression=ZIP_DEFLATED)`."""
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def record_responses(bodies: dict) -> list:
    recorded = []
    for name, requests in bodies.items():
        client = TestClient(init(mlflow.pyfunc.load_model(str(HERE / name))))
        for body in requests:
            response = client.post("/invocations", json=body)
            if response.status_code == 200:
                recorded.append({"model": name, "body": body, "answer": response.json()})
            else:
                print(name, json.dumps(body)[:80], response.status_code, response.text[:300])
    return recorded


if __name__ == "__main__":
    recorded = record_responses(save_all())
    lines = ",\n".join(json.dumps(item) for item in recorded)
    (HERE / "invocations.json").write_text(f"[\n{lines}\n]\n")
    for path in HERE.glob("*/*"):
        # onnx names the second file at random.
        if path.name not in KEPT and path.suffix != ".data":
            path.unlink()
        elif path.suffix == ".skops" and path.stat().st_size > MAX_BYTES:
            repack(path)
