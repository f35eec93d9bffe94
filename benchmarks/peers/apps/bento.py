"""BentoML's service for a scikit-learn model: default settings, without the access log."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCHMARK_MODEL"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        classes: np.ndarray = self.model.predict(rows)
        return classes
