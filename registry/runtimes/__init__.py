"""The frameworks that mlapi serves. Each runtime module, with its heavy library, is imported on
first use.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from registry.runtimes.base import LoadError, RuntimeModule


@dataclass(frozen=True, slots=True)
class Framework:
    """What mlapi knows about a framework without importing it.

    `name` is the value of `ModelVersion.framework`, `module` the runtime's module below this
    package, and `extra` the pip extra that installs its library, if it differs from `name`.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    export: str
    """How to write a file that this framework's runtime loads, for messages."""
    extra: str = ""


FRAMEWORKS: Mapping[str, Framework] = {
    framework.name: framework
    for framework in (
        Framework("sklearn", "sklearn.runtime", (".skops",), "skops.io.dump(model, 'model.skops')"),
        Framework(
            "onnx", "onnx.runtime", (".onnx",), "an ONNX export (skl2onnx, onnxmltools, torch.onnx)"
        ),
        Framework("xgboost", "xgboost", (".ubj", ".json"), "model.save_model('model.ubj')"),
        Framework("lightgbm", "lightgbm", (".txt",), "model.booster_.save_model('model.txt')"),
        Framework("catboost", "catboost", (".cbm",), "model.save_model('model.cbm')"),
        Framework(
            "open-inference",
            "open_inference.runtime",
            (".json",),
            '{"url": "https://host:8080", "model": "name"} for a model on another server',
            extra="remote",
        ),
    )
}


def runtime_module(framework: str) -> RuntimeModule:
    """Import the runtime of a framework in FRAMEWORKS; raises LoadError if its library is not
    installed.
    """
    known = FRAMEWORKS[framework]
    try:
        return cast(RuntimeModule, importlib.import_module(f"registry.runtimes.{known.module}"))
    except ImportError as error:
        extra = known.extra or framework
        raise LoadError(
            f"mlapi cannot load {framework} models: {error}. Install their library with "
            f"pip install 'mlapi[{extra}]'"
        ) from error
