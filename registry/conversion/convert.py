"""Converts a model to ONNX and proves that both forms score alike. No Django here.

Runs as a subprocess, `-m registry.conversion.convert`, which `registry.conversion.launch` starts.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import load_model, score_example
from registry.conversion.comparison_rows import (
    rows_to_compare,
    unusual_rows,
    without_missing_objects,
)
from registry.conversion.launch import MIN_EXAMPLE_ROWS
from registry.conversion.parity import Parity, compare
from registry.conversion.unconvertible import REGISTER_AS_IT_IS, Unconvertible, explanation
from registry.exact_json.values import JSONObject
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    Runtime,
)
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import DTYPES, Signature, listed
from registry.signatures.synthetic_rows import with_missing_values


@dataclass(frozen=True, slots=True)
class _Source:
    """The model to convert, and its answers to the rows and to unusual ones.

    `unusual` and its answers are None if the model cannot answer these rows.
    """

    runtime: Runtime
    signature: Signature
    rows: Mapping[str, np.ndarray]
    answers: Outputs
    unusual: Mapping[str, np.ndarray] | None
    unusual_answers: Outputs | None


@dataclass(frozen=True, slots=True)
class _OnnxForm:
    """A converted model, with the outputs' names in its source."""

    runtime: Runtime
    signature: Signature
    source_names: Mapping[str, str]

    def answer(self, arrays: Mapping[str, np.ndarray]) -> Outputs:
        """The outputs for arranged rows of the source, in the datatypes and shapes of the graph."""
        inputs = {
            # A column is (n, 1) in many graphs.
            tensor.name: arrays[tensor.name]
            .astype(DTYPES[tensor.datatype or "FP64"], copy=False)
            .reshape(len(arrays[tensor.name]), *tensor.row_shape)
            for tensor in self.signature.inputs
        }
        outputs = self.runtime.predict(inputs)
        return {self.source_names[name]: values for name, values in outputs.items()}

    @property
    def nullable(self) -> frozenset[str]:
        """The inputs that are nullable whatever is declared, since the graph handles NaN."""
        return frozenset(tensor.name for tensor in self.runtime.signature.inputs if tensor.nullable)


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
    rows = rows_to_compare(runtime, signature, request["example"])
    original = _answer_rows(runtime, signature, rows, is_synthetic=is_synthetic)
    errors: list[Exception] = []
    attempts: list[tuple[Parity, str]] = []
    for number, variant in enumerate(_variants(converters, source, request, signature)):
        path = Path(request["folder"]) / f"{number}.onnx"
        try:
            path.write_bytes(variant.build())
            parity, proved = _compare(original, _load_onnx(path, signature))
        # The converters raise exceptions of any type for a model that they cannot convert.
        except Exception as error:
            errors.append(error)
            continue
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


def _variants(
    converters: ModuleType, source: object, request: JSONObject, signature: Signature
) -> list[Any]:
    try:
        return list(converters.variants(source, request["framework"], signature))
    except Unconvertible as error:
        raise ArtifactRejected(explanation([error])) from error


def _answer_rows(
    runtime: Runtime, signature: Signature, rows: Sequence[object], *, is_synthetic: bool
) -> _Source:
    try:
        answers = score_example(runtime, signature, rows)
    except ArtifactRejected as error:
        if not is_synthetic:
            raise
        raise ArtifactRejected(
            f"The model cannot score synthetic rows that fit its signature: {error} Send at least"
            f" {MIN_EXAMPLE_ROWS:,} example rows.",
            field="example",
        ) from error
    arrays, answers = without_missing_objects(arrange(signature, rows), answers)
    unusual = unusual_rows(runtime, signature, arrays)
    unusual_answers = _finite(_predict_or_none(runtime, unusual))
    return _Source(
        runtime,
        signature,
        arrays,
        answers,
        None if unusual_answers is None else unusual,
        unusual_answers,
    )


def _load_onnx(path: Path, signature: Signature) -> _OnnxForm:
    runtime = runtime_module("onnx").load(path, LoadOptions())
    declared = declaration(_nullable_only(signature, _nullable_floats(signature)))
    own = complete(runtime.signature, Signature.from_json(declared))
    if [tensor.name for tensor in own.inputs] != [tensor.name for tensor in signature.inputs]:
        raise LoadError("its ONNX form takes other inputs than the model")
    kinds = [output.kind for output in own.outputs]
    if kinds != [output.kind for output in signature.outputs]:
        raise LoadError(
            f"its ONNX form gives {listed(kinds)}, but the model gives"
            f" {listed([output.kind for output in signature.outputs])}"
        )
    source_names = {
        output.name: source.name
        for output, source in zip(own.outputs, signature.outputs, strict=True)
    }
    return _OnnxForm(runtime, own, source_names)


def _finite(outputs: Outputs | None) -> Outputs | None:
    """None if an output has NaN or infinity: then both forms left their domain."""
    if outputs is None:
        return None
    numbers = [values for values in outputs.values() if values.dtype.kind == "f"]
    return outputs if all(np.isfinite(values).all() for values in numbers) else None


def _predict_or_none(runtime: Runtime, inputs: Mapping[str, np.ndarray]) -> Outputs | None:
    try:
        return runtime.predict(inputs)
    except InferenceError:
        return None


def _compare(source: _Source, form: _OnnxForm) -> tuple[Parity, Signature]:
    """The parity, and the signature to which it applies.

    The inputs stay nullable if both forms answer missing values alike: all of them, or else those
    in which the graph itself handles missing values. Those must agree.
    """
    signature = source.signature
    parity = compare(signature, source.answers, form.answer(source.rows))
    if source.unusual is not None and source.unusual_answers is not None:
        unusual = compare(signature, source.unusual_answers, form.answer(source.unusual))
        parity = max(parity, unusual, key=attrgetter("distance"))
    nullable = _nullable_floats(signature)
    by_graph = nullable & form.nullable
    for names in (nullable, by_graph):
        narrowed = _nullable_only(signature, names)
        missing = _compare_missing(source, form, narrowed)
        if missing is not None and (missing.is_proved or names == by_graph):
            return max(parity, missing, key=attrgetter("distance")), narrowed
    return parity, _nullable_only(signature, frozenset())


def _compare_missing(source: _Source, form: _OnnxForm, signature: Signature) -> Parity | None:
    """The parity for rows with missing values in the nullable inputs; None if they are refused."""
    arrays = with_missing_values(signature, source.rows)
    if arrays is None:
        return None
    expected = _predict_or_none(source.runtime, arrays)
    return None if expected is None else compare(signature, expected, form.answer(arrays))


def _nullable_floats(signature: Signature) -> frozenset[str]:
    """The inputs whose missing values a graph can hold: as NaN, which only floats have."""
    return frozenset(
        tensor.name
        for tensor in signature.inputs
        if tensor.nullable and tensor.datatype in ("FP32", "FP64")
    )


def _nullable_only(signature: Signature, names: frozenset[str]) -> Signature:
    inputs = tuple(replace(tensor, nullable=tensor.name in names) for tensor in signature.inputs)
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
    attempts: Sequence[tuple[Parity, str]], errors: Sequence[Exception], *, is_synthetic: bool
) -> ArtifactRejected:
    if not attempts:
        return ArtifactRejected(explanation(errors))
    parity, precision = min(attempts, key=lambda attempt: attempt[0].distance)
    hint = (
        " The rows were synthetic: example rows may fit the model better." if is_synthetic else ""
    )
    return ArtifactRejected(
        f"Its ONNX form scores differently: {parity} (in {precision} precision, which comes"
        f" closest).{hint} {REGISTER_AS_IT_IS}"
    )


if __name__ == "__main__":
    sandbox.serve(convert_and_compare)
