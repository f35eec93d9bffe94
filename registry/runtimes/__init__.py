"""The frameworks that mlapi serves, one file each; a file, and with it its heavy library, is
imported on first use.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from registry.runtimes.base import LoadError, RuntimeModule


@dataclass(frozen=True, slots=True)
class Framework:
    """A row of the table: its name in `ModelVersion.framework`, its file endings and the extra that
    installs it.
    """

    name: str
    suffixes: tuple[str, ...]
    export: str
    """How to write a file that this framework's runtime loads, for messages."""


FRAMEWORKS: Mapping[str, Framework] = {
    framework.name: framework
    for framework in (
        Framework("sklearn", (".skops",), "skops.io.dump(model, 'model.skops')"),
        Framework("onnx", (".onnx",), "an ONNX export (skl2onnx, onnxmltools, torch.onnx)"),
        Framework("xgboost", (".ubj", ".json"), "model.save_model('model.ubj')"),
        Framework("lightgbm", (".txt",), "model.booster_.save_model('model.txt')"),
    )
}


def runtime_module(framework: str) -> RuntimeModule:
    """The runtime of a framework in FRAMEWORKS; raises LoadError where its library is not
    installed.
    """
    try:
        return cast(RuntimeModule, importlib.import_module(f"registry.runtimes.{framework}"))
    except ImportError as error:
        raise LoadError(
            f"{framework} models need pip install 'mlapi[{framework}]': {error}"
        ) from error
