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
    installs it, where that is not called the same.
    """

    name: str
    suffixes: tuple[str, ...]
    export: str
    """How to write a file that this framework's runtime loads, for messages."""
    extra: str = ""


FRAMEWORKS: Mapping[str, Framework] = {
    framework.name: framework
    for framework in (
        Framework("sklearn", (".skops",), "skops.io.dump(model, 'model.skops')"),
        Framework("onnx", (".onnx",), "an ONNX export (skl2onnx, onnxmltools, torch.onnx)"),
        Framework("xgboost", (".ubj", ".json"), "model.save_model('model.ubj')"),
        Framework("lightgbm", (".txt",), "model.booster_.save_model('model.txt')"),
        Framework(
            "open-inference",
            (".json",),
            '{"url": "https://host:8080", "model": "name"} for a model on another server',
            extra="remote",
        ),
    )
}


def runtime_module(framework: str) -> RuntimeModule:
    """The runtime of a framework in FRAMEWORKS; raises LoadError where its library is not
    installed.
    """
    module = framework.replace("-", "_")
    try:
        return cast(RuntimeModule, importlib.import_module(f"registry.runtimes.{module}"))
    except ImportError as error:
        extra = FRAMEWORKS[framework].extra or framework
        raise LoadError(f"{framework} models need pip install 'mlapi[{extra}]': {error}") from error
