"""LightGBM models, from the text file that `save_model` writes. No Django here."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import lightgbm
import numpy as np

from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs, class_outputs
from registry.signatures.signature import Input, Output, Signature
from registry.signatures.synthetic_rows import ColumnProfile, Profiles

logger = logging.getLogger(__name__)

_OBJECTIVE = re.compile(r"^objective=(\S+)", re.MULTILINE)
_HEADER_CHARACTERS = 1 << 16


class _QuietLogger:
    """Sends to the log what the native library would print to standard output."""

    def info(self, message: str) -> None:
        logger.debug("%s", message)

    def warning(self, message: str) -> None:
        logger.debug("%s", message)


lightgbm.register_logger(_QuietLogger())


class LightGBMRuntime:
    """A Booster that predicts like an LGBMClassifier or LGBMRegressor with the same trees."""

    def __init__(self, booster: lightgbm.Booster, objective: str) -> None:
        self.libraries: Mapping[str, str] = {"lightgbm": lightgbm.__version__}
        self._booster = booster
        self._objective = objective
        self._width = booster.num_model_per_iteration()
        self.signature = Signature((_input(booster),), self._outputs())

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score `features`, FP64 (n, k) with NaN for missing; see Runtime.predict."""
        features = np.ascontiguousarray(inputs["features"], dtype=np.float64)
        try:
            # By default, each call would use every core.
            raw = np.asarray(self._booster.predict(features, num_threads=1))
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise InferenceError(str(error)) from error
        return self._name_outputs(raw.reshape(len(features), self._width))

    def profiles(self) -> Profiles:
        """The range of each feature in the training data."""
        infos = self._booster.dump_model(num_iteration=1)["feature_infos"]
        return {
            i: ColumnProfile(info["min_value"], info["max_value"], tuple(info.get("values", ())))
            for i, name in enumerate(self._booster.feature_name())
            if (info := infos.get(name))
        }

    def _outputs(self) -> tuple[Output, ...]:
        if self._objective == "binary":
            return class_outputs((0, 1), "FP64")
        if self._objective in ("multiclass", "multiclassova"):
            return class_outputs(tuple(range(self._width)), "FP64")
        if self._width == 1:
            return (Output("value", "FP64", (-1,)),)
        return tuple(Output(f"y{i}", "FP64", (-1,)) for i in range(self._width))

    def _name_outputs(self, raw: np.ndarray) -> Outputs:
        if self._objective == "binary":
            raw = np.concatenate([1.0 - raw, raw], axis=1)
        if self._objective in ("binary", "multiclass", "multiclassova"):
            return {"label": raw.argmax(axis=1), "probabilities": raw}
        return {output.name: raw[:, i] for i, output in enumerate(self.signature.outputs)}


def load(path: Path, options: LoadOptions) -> LightGBMRuntime:
    """Load a text model; raises LoadError. A damaged file may crash the process."""
    try:
        text = path.read_text(encoding="utf-8")
        booster = lightgbm.Booster(params={"verbosity": -1, "num_threads": 1}, model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
        raise LoadError(f"LightGBM cannot read the file: {error}") from error
    if booster.pandas_categorical:
        raise LoadError(
            f"the model was trained on {len(booster.pandas_categorical)} categorical columns of a "
            "data frame, whose encoding depends on that frame. Encode them as numbers before "
            "training, or send a pipeline as scikit-learn or ONNX"
        )
    match = _OBJECTIVE.search(text, 0, _HEADER_CHARACTERS)
    return LightGBMRuntime(booster, match[1] if match else "")


def _input(booster: lightgbm.Booster) -> Input:
    names: tuple[str, ...] = tuple(booster.feature_name())
    # These are the default names of LightGBM.
    if names == tuple(f"Column_{i}" for i in range(len(names))):
        names = ()
    return Input("features", "FP64", (-1, booster.num_feature()), names, nullable=True)
