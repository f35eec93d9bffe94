"""Loads a pickle, writes its model in a safe format and compares the two. No Django here.

Runs as a subprocess, `-m registry.conversion.pickles.export`, which `launch` starts.
"""

import importlib
import pickle
import resource
import warnings
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import load_model, score_example
from registry.conversion.comparison_rows import unusual_rows
from registry.conversion.parity import Parity, compare
from registry.conversion.pickles.confinement import Confinement, confine
from registry.conversion.pickles.launch import N_SYNTHETIC_ROWS, OUTPUT_FILES, Target
from registry.conversion.pickles.originals import Model, expected_outputs
from registry.exact_json.values import JSONObject
from registry.runtimes import FRAMEWORKS
from registry.runtimes.base import InferenceError, Runtime, profiles_of
from registry.signatures.arrangement import arrange
from registry.signatures.signature import Input, Signature, listed
from registry.signatures.synthetic_rows import synthesize_rows, with_missing_values

# Both are the same trees and numbers, read by the same library.
TOLERANCE = 1e-6
# Address space beyond the memory limit: libraries reserve more than they use.
RESERVED_BYTES = 8 * 2**30
# The package to install for a module that a pickle needs.
PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow"}
MAX_SHOWN = 10


def export_confined(request: JSONObject) -> JSONObject:
    """Confine this process, load the pickle, write its model, and compare their answers."""
    folder = Path(request["folder"])
    # Confined processes cannot change their limits.
    _limit_addresses()
    confinement = confine(
        readable=[folder], writable=[folder / name for name in OUTPUT_FILES.values()]
    )
    _require(confinement, Confinement.from_json(request["confinement"]))
    model, version_warnings = _load_pickle(Path(request["path"]), request["writer"])
    framework = _framework(model, request["target"])
    path = folder / OUTPUT_FILES[framework]
    _write(model, framework, path)
    declared = _declare_classes(model, framework, request["declared"])
    runtime, signature = load_model(
        request | {"path": str(path), "framework": framework, "declared": declared}
    )
    return {
        "framework": framework,
        "signature": _declare_inputs(runtime, signature, declared),
        "summary": _summary(model, signature, runtime),
        "version_warnings": version_warnings,
        "parity": asdict(_compare(model, runtime, signature, request["example"])),
    }


# -- the process


def _require(actual: Confinement, promised: Confinement) -> None:
    """The user agreed to run the pickle under the promised confinement."""
    if set(actual.gaps) - set(promised.gaps):
        raise ArtifactRejected(
            f"The process could still {' and '.join(actual.gaps)}, so it did not load the pickle."
        )


def _limit_addresses() -> None:
    """Shared memory counts as address space only, not as this process's data."""
    memory_bytes, _ = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_bytes + RESERVED_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


# -- the pickle


def _load_pickle(path: Path, writer: str) -> tuple[Model, list[str]]:
    """The object in the pickle, and which of its estimators another version wrote."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with path.open("rb") as file:
                if writer == "joblib":
                    model = importlib.import_module("joblib").load(file)
                else:
                    model = pickle.load(file)  # noqa: S301 - the purpose of this confined process
        except MemoryError:
            raise
        # The pickle's own code may raise anything, and even try to exit.
        except BaseException as error:
            raise ArtifactRejected(_load_message(error)) from error
    changed = {name for item in caught if (name := _written_by_another(item.message))}
    return model, sorted(changed)[:MAX_SHOWN]


def _written_by_another(warning: object) -> str:
    """Which estimator another version wrote, from scikit-learn's InconsistentVersionWarning."""
    name = getattr(warning, "estimator_name", "")
    version = getattr(warning, "original_sklearn_version", "")
    return f"{name} was written by scikit-learn {version}" if name and version else ""


def _load_message(error: BaseException) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if "." in error.name and importlib.util.find_spec(package) is not None:
            return (
                f"The pickle needs the module {error.name}, which the installed version of"
                f" {package} does not have. Install the version that wrote the pickle."
            )
        return (
            f"The pickle needs the module {package}, which is not installed: pip install"
            f" {PACKAGES.get(package, package)}, or add the folder of your own code to PYTHONPATH."
        )
    if isinstance(error, AttributeError):
        return (
            f"The pickle needs a name that the installed libraries do not have: {reason}. Install"
            " the versions that wrote it."
        )
    if isinstance(error, PermissionError):
        return f"The pickle tried what this process is not allowed to do: {reason}"
    return f"The pickle cannot be loaded: {type(error).__name__}: {reason}"


# -- the file


def _framework(model: Model, target: Target | None) -> str:
    """The framework of the file to write; raises ArtifactRejected if there is none."""
    package = type(model).__module__.partition(".")[0]
    is_estimator = hasattr(model, "fit") and hasattr(model, "get_params")
    if package in OUTPUT_FILES and package in FRAMEWORKS and package != "sklearn":
        if target != "skops":
            return package
        if is_estimator:
            return "sklearn"
        raise ArtifactRejected(
            f"A {package} {type(model).__name__} is not an estimator of scikit-learn. Write it in"
            " its own format: --to native."
        )
    if not is_estimator:
        raise ArtifactRejected(_not_a_model(model))
    if target == "native":
        raise ArtifactRejected(
            f"{_name(model)} has no format of its own but pickle. Write it as skops: --to skops."
        )
    return "sklearn"


def _not_a_model(model: Model) -> str:
    if isinstance(model, dict):
        keys = listed([str(key)[:40] for key in list(model)[:MAX_SHOWN]])
        return (
            f"The pickle holds a dict with the keys {keys}, not a model. Write a pickle of the"
            " model alone: joblib.dump(d['model'], 'model.joblib')."
        )
    if type(model).__module__.partition(".")[0] == "torch" or hasattr(model, "state_dict"):
        return (
            f"The pickle holds a PyTorch module, {_name(model)}. Export it to ONNX:"
            " torch.onnx.export(model, args, 'model.onnx', external_data=False)."
        )
    return (
        f"The pickle holds a {_name(model)}, not a model of scikit-learn, XGBoost, LightGBM or"
        " CatBoost."
    )


def _write(model: Model, framework: str, path: Path) -> None:
    try:
        if framework == "sklearn":
            importlib.import_module("skops.io").dump(model, path)
        elif framework == "lightgbm":
            booster: Model = getattr(model, "booster_", model)
            booster.save_model(path)
        else:
            _require_plain_missing(model)
            model.save_model(path)
    except ArtifactRejected:
        raise
    # Libraries raise anything for a model that they cannot write.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ArtifactRejected(
            f"{_name(model)} cannot be written as {path.suffix[1:]}: {reason}"
        ) from error


def _require_plain_missing(model: Model) -> None:
    """XGBoost's file does not say which number stood for a missing value."""
    missing = getattr(model, "missing", None)
    if isinstance(missing, int | float) and missing == missing:
        raise ArtifactRejected(
            f"The model takes {missing} for a missing value, which XGBoost's file does not record."
            " Write it as skops: --to skops."
        )


def _declare_classes(
    model: Model, framework: str, declared: JSONObject | None
) -> JSONObject | None:
    """The declared signature, with the classes that a booster's own file does not contain."""
    classes = getattr(model, "classes_", None)
    if framework not in ("xgboost", "lightgbm") or not isinstance(classes, np.ndarray):
        return declared
    labels = classes.tolist()
    if classes.ndim != 1 or labels == list(range(len(labels))) or "classes" in (declared or {}):
        return declared
    return {**(declared or {}), "classes": labels}


def _declare_inputs(
    runtime: Runtime, signature: Signature, declared: JSONObject | None
) -> JSONObject | None:
    """The declared signature, with what the example rows showed about the inputs.

    Otherwise registering the file would need the same rows again.
    """
    is_in_file = {tensor.name: tensor.datatype is not None for tensor in runtime.signature.inputs}
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            **({"nullable": True} if tensor.nullable else {}),
        }
        for tensor in signature.inputs
        if not is_in_file.get(tensor.name, True)
    ]
    if not inputs or {"inputs", "columns"} & (declared or {}).keys():
        return declared
    return {**(declared or {}), "inputs": inputs}


def _summary(model: Model, signature: Signature, runtime: Runtime) -> str:
    names = [key for tensor in signature.inputs for key in tensor.features or _own_name(tensor)]
    classes = next((output.classes for output in signature.outputs if output.kind == "label"), ())
    parts = [_name(model)]
    if names:
        more = len(names) - MAX_SHOWN
        parts.append(f"features {', '.join(names[:MAX_SHOWN])}{f' and {more} more' * (more > 0)}")
    else:
        parts.append(f"{abs(signature.inputs[0].shape[1])} features without names")
    if classes:
        parts.append(f"classes {', '.join(str(label) for label in classes[:MAX_SHOWN])}")
    libraries = ", ".join(f"{name} {version}" for name, version in runtime.libraries.items())
    return f"{'; '.join(parts)} ({libraries})"


def _own_name(tensor: Input) -> list[str]:
    return [tensor.name] if tensor.is_scalar else []


def _name(model: Model) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


# -- the comparison


def _compare(model: Model, runtime: Runtime, signature: Signature, example: list[Any]) -> Parity:
    rows = example or synthesize_rows(signature, profiles_of(runtime), N_SYNTHETIC_ROWS)
    try:
        outputs = score_example(runtime, signature, rows)
    except ArtifactRejected as error:
        if example:
            raise
        raise ArtifactRejected(
            f"The model cannot answer synthetic rows that fit its signature: {error} Send real rows"
            " with --example-file.",
            field="example",
        ) from error
    arrays = arrange(signature, rows)
    compared, expected = expected_outputs(model, signature, arrays)
    parity = compare(compared, expected, outputs)
    unusual = unusual_rows(runtime, signature, arrays)
    with_gaps = with_missing_values(signature, arrays)
    for other in (unusual, with_gaps):
        further = None if other is None else _compare_further(model, runtime, signature, other)
        if further is not None:
            parity = max(parity, further, key=attrgetter("distance"))
    if parity.labels_differ or parity.max_difference > TOLERANCE:
        raise ArtifactRejected(f"The file answers differently than the pickle: {parity}.")
    return parity


def _compare_further(
    model: Model, runtime: Runtime, signature: Signature, arrays: dict[str, np.ndarray]
) -> Parity | None:
    """The parity on further rows; None if the file refuses them, as the service then does."""
    try:
        outputs = runtime.predict(arrays)
    except InferenceError:
        return None
    compared, expected = expected_outputs(model, signature, arrays)
    return compare(compared, expected, outputs)


if __name__ == "__main__":
    sandbox.serve(export_confined)
