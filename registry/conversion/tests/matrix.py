"""Converts many models, and compares both forms on rows that the conversion has not seen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import skops.io
import xgboost

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.sniffing import sniff
from registry.conversion import convert as conversion
from registry.conversion.parity import TOLERANCE, compare
from registry.runtimes import runtime_module
from registry.runtimes.base import LoadOptions, Outputs
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature

# What a library says to its developers, and a user cannot read.
_RAW_MESSAGE = re.compile(r"StopIteration|Traceback|<class|no label output|0x[0-9a-f]{6}")


@dataclass
class Matrix:
    """The names of the models that were converted, and the reasons for which others were not."""

    folder: Path
    converted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        name: str,
        model: Any,
        fresh: Sequence[Any],
        *,
        declared: Any = None,
        example: Sequence[Any] = (),
    ) -> None:
        """Convert the model; fails if its ONNX form differs on the fresh rows, or if it is refused
        without a sentence.
        """
        path = save(model, self.folder / f"model.{_suffix(model)}")
        result = self._convert(name, path, example, declared)
        if result is None:
            return
        signature, expected = score(path, fresh, declared)
        onnx, actual = score(path.parent / result["file"], fresh, result["signature"])
        assert [(output.kind, output.name, output.classes) for output in onnx.outputs] == [
            (output.kind, output.name, output.classes) for output in signature.outputs
        ], name
        assert onnx.feature_names == signature.feature_names, name
        parity = compare(signature, expected, actual)
        assert parity.labels_differ == 0, (name, str(parity))
        assert parity.max_difference <= TOLERANCE, (name, str(parity))
        self.converted.append(name)

    def _convert(
        self, name: str, path: Path, example: Sequence[Any], declared: Any
    ) -> dict[str, Any] | None:
        """The conversion, or None if it is refused with a reason, which is kept."""
        try:
            return convert_here(path, example, declared)
        except ArtifactRejected as rejection:
            reason = str(rejection)
        assert _is_sentence(reason), (name, reason)
        self.refused[name] = reason
        return None


def _is_sentence(message: str) -> bool:
    return bool(re.fullmatch(r"[A-Z][^\n]*\.", message)) and not _RAW_MESSAGE.search(message)


def as_json(rows: Any) -> list[dict[str, Any]]:
    return [{"features": [None if v != v else v for v in row]} for row in np.asarray(rows).tolist()]


def save(model: Any, path: Path) -> Path:
    if isinstance(model, xgboost.XGBModel | xgboost.Booster):
        model.save_model(path)
    elif isinstance(model, catboost.CatBoost):
        model.save_model(str(path))
    elif isinstance(model, lightgbm.LGBMModel | lightgbm.Booster):
        getattr(model, "booster_", model).save_model(path)
    else:
        skops.io.dump(model, path)
    return path


def convert_here(path: Path, example: Any = (), declared: Any = None) -> dict[str, Any]:
    """Convert in this process: the imports of a fresh interpreter take seconds."""
    return conversion.convert_and_compare(
        {
            "path": str(path),
            "folder": str(path.parent),
            "framework": sniff(path),
            "trusted_types": [],
            "declared": declared,
            "example": list(example),
        }
    )


def score(path: Path, rows: Any, declared: Any = None) -> tuple[Signature, Outputs]:
    runtime = runtime_module(sniff(path)).load(path, LoadOptions())
    declaration = None if declared is None else Signature.from_json(declared)
    signature = complete(runtime.signature, declaration)
    return signature, runtime.predict(arrange(signature, rows))


def _suffix(model: Any) -> str:
    if isinstance(model, xgboost.XGBModel | xgboost.Booster):
        return "ubj"
    if isinstance(model, catboost.CatBoost):
        return "cbm"
    return "txt" if isinstance(model, lightgbm.LGBMModel | lightgbm.Booster) else "skops"
