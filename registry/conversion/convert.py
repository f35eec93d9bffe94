"""Converts a model to ONNX and proves that both forms score alike. No Django here.

Runs as a subprocess, `-m registry.conversion.convert`, which `registry.conversion.launch` starts.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import numpy as np

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import load_model, score_example
from registry.conversion.launch import MIN_EXAMPLE_ROWS, N_SYNTHETIC_ROWS
from registry.conversion.parity import Parity, compare
from registry.exact_json.values import JSONObject
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    Runtime,
    profiles_of,
)
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature
from registry.signatures.synthetic_rows import synthesize_rows, with_missing_values


@dataclass(frozen=True, slots=True)
class _Scores:
    """One form's outputs for the rows, and for the same rows with missing values.

    `for_missing` is None if no input is nullable, or if the form refuses missing values.
    """

    for_rows: Outputs
    for_missing: Outputs | None


def convert_and_compare(request: JSONObject) -> JSONObject:
    """Convert as `convert` requests; the result is the first variant that scores like the source.

    Raises ArtifactRejected if there is none.
    """
    converters = _import_converters()
    runtime, signature = load_model(request)
    source = converters.load(
        Path(request["path"]), request["framework"], frozenset(request["trusted_types"])
    )
    is_synthetic = not request["example"]
    rows = request["example"] or synthesize_rows(signature, profiles_of(runtime), N_SYNTHETIC_ROWS)
    expected = _score_source(runtime, signature, rows, is_synthetic=is_synthetic)
    errors: list[str] = []
    attempts: list[tuple[Parity, str]] = []
    for number, variant in enumerate(converters.variants(source, request["framework"], signature)):
        path = Path(request["folder"]) / f"{number}.onnx"
        try:
            path.write_bytes(variant.build())
            actual, is_nullable = _score_onnx(path, signature, rows)
        # The converters raise exceptions of any type for a model that they cannot convert.
        except Exception as error:
            errors.append(f"{variant.precision} precision: {_first_line(error)}")
            continue
        parity, proved = _compare(signature, expected, actual, is_nullable)
        if parity.is_proved:
            return {
                "file": path.name,
                "signature": declaration(proved),
                "libraries": dict(runtime.libraries),
                "precision": variant.precision,
                "parity": asdict(parity),
                "refuses_missing": proved != signature,
            }
        attempts.append((parity, variant.precision))
    raise _rejection(attempts, errors, is_synthetic=is_synthetic)


def _score_source(
    runtime: Runtime, signature: Signature, rows: Sequence[object], *, is_synthetic: bool
) -> _Scores:
    try:
        for_rows = score_example(runtime, signature, rows)
    except ArtifactRejected as error:
        if not is_synthetic:
            raise
        raise ArtifactRejected(
            f"The model cannot score synthetic rows that fit its signature: {error} Send at least"
            f" {MIN_EXAMPLE_ROWS:,} example rows.",
            field="example",
        ) from error
    inputs = with_missing_values(signature, arrange(signature, rows))
    return _Scores(for_rows, None if inputs is None else _predict_or_none(runtime, inputs))


def _score_onnx(path: Path, signature: Signature, rows: Sequence[object]) -> tuple[_Scores, bool]:
    """The ONNX form's outputs under the source's names, and whether the file itself has nullable
    inputs.
    """
    runtime = runtime_module("onnx").load(path, LoadOptions())
    own = complete(runtime.signature, Signature.from_json(declaration(signature)))
    kinds = [output.kind for output in own.outputs]
    if kinds != [output.kind for output in signature.outputs]:
        raise LoadError(f"the ONNX form has outputs {', '.join(kinds)}, unlike its source")
    source_names = {
        output.name: source.name
        for output, source in zip(own.outputs, signature.outputs, strict=True)
    }

    def predict(inputs: Mapping[str, np.ndarray]) -> Outputs:
        outputs = runtime.predict(inputs)
        return {source_names[name]: values for name, values in outputs.items()}

    inputs = arrange(own, rows)
    with_missing = with_missing_values(signature, inputs)
    scores = _Scores(predict(inputs), None if with_missing is None else predict(with_missing))
    return scores, any(tensor.nullable for tensor in runtime.signature.inputs)


def _predict_or_none(runtime: Runtime, inputs: Mapping[str, np.ndarray]) -> Outputs | None:
    try:
        return runtime.predict(inputs)
    except InferenceError:
        return None


def _compare(
    signature: Signature, expected: _Scores, actual: _Scores, is_nullable: bool
) -> tuple[Parity, Signature]:
    """The parity, and the signature to which it applies.

    If the two forms score missing values differently, that is a signature without missing values,
    unless the file itself has nullable inputs.
    """
    parity = compare(signature, expected.for_rows, actual.for_rows)
    if expected.for_missing is None or actual.for_missing is None:
        return parity, _without_missing(signature)
    missing_parity = compare(signature, expected.for_missing, actual.for_missing)
    if missing_parity.is_proved or is_nullable:
        return max(parity, missing_parity, key=attrgetter("distance")), signature
    return parity, _without_missing(signature)


def _without_missing(signature: Signature) -> Signature:
    inputs = tuple(replace(tensor, nullable=False) for tensor in signature.inputs)
    return replace(signature, inputs=inputs)


def declaration(signature: Signature) -> JSONObject:
    """The parts of a signature that an ONNX file cannot contain, as a declared signature."""
    return {
        "inputs": [
            {
                "name": tensor.name,
                **({"features": list(tensor.features)} if tensor.features else {}),
                **({"nullable": True} if tensor.nullable else {}),
            }
            for tensor in signature.inputs
        ],
        "outputs": [
            {"name": output.name, "classes": list(output.classes)}
            for output in signature.outputs
            if output.kind == "label"
        ],
    }


def _import_converters() -> ModuleType:
    try:
        return importlib.import_module("registry.conversion.converters")
    except ImportError as error:
        raise ArtifactRejected(
            f"Conversion needs pip install 'mlapi[convert]': {error}.", field="framework"
        ) from error


def _rejection(
    attempts: Sequence[tuple[Parity, str]], errors: Sequence[str], *, is_synthetic: bool
) -> ArtifactRejected:
    if not attempts:
        return ArtifactRejected(f"It cannot be converted to ONNX. {' '.join(errors)}")
    parity, precision = min(attempts, key=lambda attempt: attempt[0].distance)
    hint = (
        " The rows were synthetic: example rows may fit the model better." if is_synthetic else ""
    )
    return ArtifactRejected(
        f"Its ONNX form scores differently: {parity} (in {precision} precision, which comes"
        f" closest).{hint}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


if __name__ == "__main__":
    sandbox.serve(convert_and_compare)
