"""Turns a model of another framework into ONNX, and proves that both answer alike. No Django here.

Run as `-m registry.conversion.convert`, it is the bounded subprocess in which that happens: see
`registry.artifacts.sandbox`. Only there are the converters imported, and the frameworks they
convert from.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import numpy as np

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import load_model, model_request, score_example
from registry.conversion.parity import Parity, compare
from registry.conversion.synthetic_rows import make_rows, with_gaps
from registry.runtimes import runtime_module
from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs, Runtime
from registry.signatures.arrangement import arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature

MIN_ROWS = 1000
GENERATED_ROWS = 2000
TASK = "Converting and comparing"


@dataclass(frozen=True, slots=True)
class Conversion:
    """An ONNX file that answers as its source does.

    `signature` declares what the file cannot tell of it, `libraries` wrote the source, and
    `precision` is the one the file calculates in. `is_generated` tells that nobody gave the rows,
    `refuses_missing` that the file takes no missing values where its source does.
    """

    path: Path
    signature: dict[str, Any]
    libraries: dict[str, str]
    precision: str
    parity: Parity
    is_generated: bool
    refuses_missing: bool


def convert(
    path: Path,
    folder: Path,
    *,
    framework: str,
    options: LoadOptions,
    declared: Mapping[str, Any] | None,
    example: Sequence[object],
    timeout_seconds: float,
    memory_bytes: int,
    file_bytes: int,
) -> Conversion:
    """Write the ONNX form of a model file into `folder`, in a subprocess with limits.

    Both are scored on the `example` rows (each an `input_data`), of which it takes MIN_ROWS, or on
    GENERATED_ROWS that fit the signature where there are none. Raises ArtifactRejected for a file
    that is ONNX already or cannot be converted, and with the figures for one whose ONNX form
    answers otherwise.
    """
    if framework == "onnx":
        raise ArtifactRejected("The file is ONNX already: register it without --to onnx.")
    if framework == "open-inference":
        raise ArtifactRejected("The model is on another server: there is no file to convert.")
    if 0 < len(example) < MIN_ROWS:
        raise ArtifactRejected(
            f"{len(example):,} example rows prove too little: give at least {MIN_ROWS:,}, or none.",
            field="example",
        )
    request = model_request(
        path, framework=framework, options=options, declared=declared, example=example
    )
    answer = sandbox.run(
        "registry.conversion.convert",
        request | {"folder": str(folder.resolve())},
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
        task=TASK,
    )
    return Conversion(
        path=folder / answer["file"],
        signature=answer["signature"],
        libraries=answer["libraries"],
        precision=answer["precision"],
        parity=Parity(**answer["parity"]),
        is_generated=not example,
        refuses_missing=answer["refuses_missing"],
    )


# -- the subprocess


def examine(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert what a request of `convert` asks for, in this process; raises ArtifactRejected."""
    converters = _converters()
    runtime, signature = load_model(request)
    source = converters.load(
        Path(request["path"]), request["framework"], frozenset(request["trusted_types"])
    )
    rows = request["example"] or make_rows(source, signature, GENERATED_ROWS)
    theirs = _Answered.of_source(runtime, signature, rows, is_generated=not request["example"])
    failed: list[str] = []
    measured: list[tuple[Parity, str]] = []
    for number, variant in enumerate(converters.variants(source, request["framework"], signature)):
        path = Path(request["folder"]) / f"{number}.onnx"
        try:
            path.write_bytes(variant.build())
            ours, takes_gaps = _Answered.of_onnx(path, signature, rows)
        # The converters raise what they like for a model that they cannot convert.
        except Exception as error:
            failed.append(f"{variant.precision} precision: {_first_line(error)}")
            continue
        parity, kept = _judged(signature, theirs, ours, takes_gaps)
        if parity.is_proved:
            return {
                "file": path.name,
                "signature": carried(kept),
                "libraries": dict(runtime.libraries),
                "precision": variant.precision,
                "parity": asdict(parity),
                "refuses_missing": kept != signature,
            }
        measured.append((parity, variant.precision))
    raise _refused(measured, failed, is_generated=not request["example"])


@dataclass(frozen=True, slots=True)
class _Answered:
    """What one form answers to the rows, and to the same rows with gaps if it takes such."""

    whole: Outputs
    gapped: Outputs | None

    @classmethod
    def of_source(
        cls, runtime: Runtime, signature: Signature, rows: Sequence[object], *, is_generated: bool
    ) -> Self:
        try:
            whole = score_example(runtime, signature, rows)
        except ArtifactRejected as error:
            if not is_generated:
                raise
            raise ArtifactRejected(
                f"The model does not take rows generated from its signature: {error} Give at "
                f"least {MIN_ROWS:,} example rows.",
                field="example",
            ) from error
        gapped = with_gaps(signature, arrange(signature, rows))
        return cls(whole, None if gapped is None else _attempted(runtime, gapped))

    @classmethod
    def of_onnx(cls, path: Path, signature: Signature, rows: Sequence[object]) -> tuple[Self, bool]:
        """The answers, under the names of the source's outputs, and whether the file by itself
        says that it takes gaps.
        """
        runtime = runtime_module("onnx").load(path, LoadOptions())
        own = complete(runtime.signature, Signature.from_json(carried(signature)))
        kinds = [output.kind for output in own.outputs]
        if kinds != [output.kind for output in signature.outputs]:
            raise LoadError(f"the ONNX form answers {', '.join(kinds)}, not what the model does")
        names = [output.name for output in own.outputs]
        rename = {a: b.name for a, b in zip(names, signature.outputs, strict=True)}

        def named(outputs: Outputs) -> Outputs:
            return {rename[name]: values for name, values in outputs.items()}

        inputs = arrange(own, rows)
        gapped = with_gaps(signature, inputs)
        answered = cls(
            named(runtime.predict(inputs)),
            None if gapped is None else named(runtime.predict(gapped)),
        )
        return answered, any(tensor.nullable for tensor in runtime.signature.inputs)


def _attempted(runtime: Runtime, inputs: Mapping[str, np.ndarray]) -> Outputs | None:
    try:
        return runtime.predict(inputs)
    except InferenceError:
        return None


def _judged(
    signature: Signature, theirs: _Answered, ours: _Answered, takes_gaps: bool
) -> tuple[Parity, Signature]:
    """The figures, and the signature for which they hold: where the two forms answer gaps
    otherwise, one that refuses gaps, if the file lets it.
    """
    parity = compare(signature, theirs.whole, ours.whole)
    if theirs.gapped is None or ours.gapped is None:
        return parity, _without_gaps(signature)
    gapped = compare(signature, theirs.gapped, ours.gapped)
    if gapped.is_proved or takes_gaps:
        return max(parity, gapped, key=attrgetter("distance")), signature
    return parity, _without_gaps(signature)


def _without_gaps(signature: Signature) -> Signature:
    inputs = tuple(replace(tensor, nullable=False) for tensor in signature.inputs)
    return replace(signature, inputs=inputs)


def carried(signature: Signature) -> dict[str, Any]:
    """What an ONNX file with these inputs and outputs cannot tell of them, to be declared."""
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


def _converters() -> Any:
    try:
        return importlib.import_module("registry.conversion.converters")
    except ImportError as error:
        raise ArtifactRejected(
            f"Conversion needs pip install 'mlapi[convert]': {error}.", field="framework"
        ) from error


def _refused(
    measured: Sequence[tuple[Parity, str]], failed: Sequence[str], *, is_generated: bool
) -> ArtifactRejected:
    if not measured:
        return ArtifactRejected(f"It cannot be converted to ONNX. {' '.join(failed)}")
    parity, precision = min(measured, key=lambda one: one[0].distance)
    hint = " The rows were generated: example rows may be kinder." if is_generated else ""
    return ArtifactRejected(
        f"Its ONNX form answers otherwise: {parity} (in {precision} precision, the closest).{hint}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


if __name__ == "__main__":
    sandbox.serve(examine)
