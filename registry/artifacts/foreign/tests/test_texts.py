"""Text files are named for what they are, and never taken for pickles."""

import json
from collections.abc import Callable
from textwrap import dedent

import lightgbm
import pytest
import xgboost
from sklearn.datasets import load_iris

from registry.artifacts.foreign.advice import TAKES

CSV = "sepal length,sepal width,species\n5.1,3.5,setosa\n6.2,2.9,virginica\n"
PYTHON = """
    # Trains the model.
    import joblib
    from sklearn.linear_model import LogisticRegression

    def train(rows, labels):
        return LogisticRegression().fit(rows, labels)
"""
YAML = """
    # How the model was trained
    model: logistic
    columns:
      - age
      - city
    seed: 7
"""
MLMODEL = """
    artifact_path: model
    flavors:
      python_function:
        loader_module: mlflow.sklearn
      sklearn:
        pickled_model: model.pkl
    run_id: 0b1c
"""
CONDA = """
    channels:
    - conda-forge
    dependencies:
    - python=3.11
    - pip:
      - mlflow
    name: mlflow-env
"""
TOML = """
    [project]
    name = "churn"
    dependencies = ["scikit-learn>=1.4"]
"""
INI = """
    [training]
    rows: 1000
    seed = 7
    path = /srv/data
"""
MARKDOWN = """
    # Churn

    The model is in [the registry](models.md).

    ## Training

    - rows of 2025
    - no text
"""
REQUIREMENTS = "# serving\nscikit-learn==1.5.0\nnumpy>=1.26,<3\nskops[all]~=0.10\n-e .\n"
S3_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
    "<Message>Access Denied</Message></Error>"
)
AZURE_ERROR = '\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code></Error>'
OPENVINO = '<?xml version="1.0"?>\n<net name="iris" version="11">\n<layers></layers></net>'
PMML = '<?xml version="1.0"?>\n<PMML version="4.4"><Header/></PMML>'
NOTEBOOK = json.dumps({"cells": [{"source": "x" * 100_000}], "metadata": {}, "nbformat": 4})
KERAS = json.dumps({"module": "keras", "class_name": "Sequential", "registered_name": None})
HUGGING_FACE = json.dumps({"architectures": ["BertModel"], "model_type": "bert"})
TENSORFLOW_JS = json.dumps({"format": "layers-model", "modelTopology": {}})
ORDINARY_JSON = json.dumps({"version": "1.0", "weights": [1, 2]}, indent=2)
R_CODE = "library(xgboost)\nmodel <- xgb.train(data = d)\n"
CPP = '#include "model.h"\nint main() { return 0; }\n'
JAVA = "package ai.h2o;\npublic class Gbm extends GenModel {}\n"
ARFF = "% iris\n@RELATION iris\n@ATTRIBUTE x NUMERIC\n@DATA\n5.1\n"
LIBSVM = "1 1:0.5 3:1.2\n0 2:0.1\n"
PROSE = "hello, this is not a model\n\nIt is a letter.\n"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "what", "instead"),
    [
        (CSV, "CSV data", "skops.io.dump"),
        (CSV.replace(",", ";"), "CSV data", "skops.io.dump"),
        (CSV.replace(",", "\t"), "TSV data", "skops.io.dump"),
        ("city,age\nname,1\n", "CSV data", "skops.io.dump"),
        ((",".join("abcdefgh" * 40) + "\n") * 3, "CSV data", "skops.io.dump"),
        (CSV * 5000, "CSV data", "skops.io.dump"),
        ("   \n[" + "x" * 100_000, "plain text", "skops.io.dump"),
        ("x" * 100_000, "plain text", "skops.io.dump"),
        (dedent(TOML) + "[[locks]]\nhash = 'abc'\n" * 9000, "TOML", ""),
        ("MZ,ORC\nPK,ZF\n", "CSV data", "skops.io.dump"),
        ("PK,name\n1,a\n", "CSV data", "skops.io.dump"),
        ("ORCHARD\n", "plain text", "skops.io.dump"),
        (dedent(YAML), "YAML", "skops.io.dump"),
        (dedent(MLMODEL), "the file MLmodel", "manage.py register_model FOLDER"),
        (dedent(CONDA), "conda.yaml", "manage.py register_model FOLDER"),
        (dedent(PYTHON), "Python source code", "skops.io.dump"),
        (REQUIREMENTS, "requirements.txt", "skops.io.dump"),
        (dedent(TOML), "TOML", "skops.io.dump"),
        (dedent(INI), "INI", "skops.io.dump"),
        (dedent(MARKDOWN), "Markdown", "skops.io.dump"),
        (PROSE, "plain text", "skops.io.dump"),
        (R_CODE, "R source", "skops.io.dump"),
        (CPP, "C or C++ source", "skops.io.dump"),
        (JAVA, "Java source", "skops.io.dump"),
        (ARFF, "ARFF data", "skops.io.dump"),
        (LIBSVM, "LIBSVM data", "skops.io.dump"),
        ("#!/bin/sh\necho hi\n", "a script", "skops.io.dump"),
        (PEM, "certificate or key", "skops.io.dump"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "git lfs pull"),
        (ORDINARY_JSON, "JSON, but neither", "model.save_model('model.ubj')"),
        ('[{"a": 1}, {"a": 2}]', "JSON data", "skops.io.dump"),
        ('{"a": 1}\n{"a": 2}\n', "JSON Lines", "skops.io.dump"),
        (NOTEBOOK, "Jupyter notebook", "skops.io.dump"),
        (KERAS, "configuration of a Keras model", ".export('model.onnx'"),
        (HUGGING_FACE, "Hugging Face", "optimum-cli export onnx"),
        (TENSORFLOW_JS, "TensorFlow.js", "skl2onnx.to_onnx"),
        (PMML, "PMML", "skl2onnx.to_onnx"),
        (OPENVINO, "OpenVINO", "skl2onnx.to_onnx"),
        ("<?xml version='1.0'?><note>hi</note>", "XML", "skops.io.dump"),
        ("<svg xmlns='x'></svg>", "SVG", "skops.io.dump"),
        ("<!DOCTYPE html><html></html>", "web page", "curl -L"),
        ("\n\n<html><head></head></html>", "web page", "curl -L"),
        (S3_ERROR, "error of a storage service", "aws s3 cp"),
        (AZURE_ERROR, "error of a storage service", "az storage blob download"),
    ],
)
def test_a_text_is_named_with_what_to_do(
    refusal: Callable[[bytes], str], text: str, what: str, instead: str
) -> None:
    message = refusal(text.encode())

    assert what in message
    assert TAKES in message
    assert instead in message
    assert "pickle" not in message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 2**16, "JSON"),
        ("a[" * 2**15, "plain text"),
        ("a" + " " * 2**16, "plain text"),
        ("<net " * 2**14, "XML"),
        ("a=" * 2**15, "plain text"),
        ("{" + '"a":{' * 2**13, "JSON"),
        ("N" * 2**15 + "(t" * 2**14, "plain text"),
        ("a.b-" * 2**14, "plain text"),
        ("a:" * 2**15, "plain text"),
        ("1 " + "1:1 " * 2**14, "LIBSVM"),
    ],
    ids=lambda text: text[:6],
)
def test_a_hostile_text_is_named(refusal: Callable[[bytes], str], text: str, what: str) -> None:
    # A pattern that backtracks would take hours here.
    assert what in refusal(text.encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_a_table_is_recognised_in_other_encodings(
    refusal: Callable[[bytes], str], encoding: str
) -> None:
    message = refusal(CSV.replace("setosa", "Köln").encode(encoding))

    assert "This is CSV data" in message
    assert ("in UTF-16" in message) == (encoding == "utf-16")


def test_the_dumps_of_the_boosters_are_named(refusal: Callable[[bytes], str]) -> None:
    rows, labels = load_iris(return_X_y=True)
    forest = xgboost.XGBClassifier(n_estimators=1, n_jobs=1).fit(rows, labels).get_booster()
    lgbm = lightgbm.LGBMClassifier(n_estimators=1, n_jobs=1, verbose=-1).fit(rows, labels)

    as_text = "".join(f"booster[{i}]:\n{tree}" for i, tree in enumerate(forest.get_dump()))
    as_json = "[\n" + ",\n".join(forest.get_dump(dump_format="json")) + "\n]"
    config = forest.save_config()
    lgbm_json = json.dumps(lgbm.booster_.dump_model())

    for dump, library, save in (
        (as_text, "XGBoost's dump", "model.save_model('model.ubj')"),
        (as_json, "XGBoost's dump", "model.save_model('model.ubj')"),
        (config, "XGBoost's configuration", "model.save_model('model.ubj')"),
        (lgbm_json, "LightGBM's dump", "model.booster_.save_model('model.txt')"),
    ):
        message = refusal(dump.encode())
        assert library in message
        assert save in message
