"""Proves that a new artifact loads and scores before it is registered.

The work happens in a subprocess with limits (see `registry.artifacts.sandbox`): this module is both
the caller and, run as `-m registry.artifacts.proof`, the subprocess. No Django here.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from registry.artifacts import probes, sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.exact_json.values import JSONObject, check_json
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    RemoteOptions,
    Runtime,
    SignatureRefiner,
    require_valid_outputs,
)
from registry.runtimes.independence import take
from registry.signatures.arrangement import Arrays, arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Signature, SignatureError
from registry.signatures.synthetic_rows import n_probe_rows
from registry.signatures.validation import InvalidInput


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known about a model once it has loaded and scored.

    `signature` is Signature.as_json(); `libraries` maps the libraries that wrote the file to their
    versions.
    """

    signature: JSONObject
    libraries: dict[str, str]


def prove(
    path: Path,
    *,
    framework: str,
    options: LoadOptions,
    declared: Mapping[str, object] | None,
    example: Sequence[object],
    timeout_seconds: float,
    memory_bytes: int,
) -> Proof:
    """Load the file with that framework, complete its signature and score rows.

    It scores the `example` rows (each an `input_data`) and synthetic rows, alone and together, to
    find out how rows may share a call: see `Signature.batching`. Raises
    ArtifactRejected, naming the field at fault, if the file, the declared signature or the example
    rows are not acceptable, or if the subprocess dies or exceeds a limit.
    """
    request = model_request(
        path, framework=framework, options=options, declared=declared, example=example
    )
    if framework == "open-inference":
        # Other frameworks' parsers never see these: a crafted file might take over the parser.
        request["remote"] = {
            "origins": sorted(options.remote.origins),
            "secrets": dict(options.remote.secrets),
        }
    reply = sandbox.run(
        "registry.artifacts.proof",
        request,
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
    )
    return Proof(reply["signature"], reply["libraries"])


def model_request(
    path: Path,
    *,
    framework: str,
    options: LoadOptions,
    declared: Mapping[str, object] | None,
    example: Sequence[object],
) -> JSONObject:
    """The JSON request from which `load_model` in the subprocess loads a model."""
    return {
        "path": str(path.resolve()),
        "framework": framework,
        "trusted_types": sorted(options.trusted_types),
        "declared": declared,
        "example": list(example),
    }


# -- in the subprocess


def load_model(request: JSONObject) -> tuple[Runtime, Signature]:
    """Load the model of a `model_request` and complete its signature; raises ArtifactRejected."""
    options = _load_options(request)
    try:
        runtime = runtime_module(request["framework"]).load(Path(request["path"]), options)
    except LoadError as error:
        raise ArtifactRejected(_as_sentence(error)) from error
    try:
        signature = complete(runtime.signature, options.declared, request["example"])
    except SignatureError as error:
        field = "example" if isinstance(error.__cause__, InvalidInput) else "signature"
        raise ArtifactRejected(_as_sentence(error), field=field) from error
    return runtime, signature


def score_example(runtime: Runtime, signature: Signature, example: Sequence[object]) -> Outputs:
    """Score the example rows; raises ArtifactRejected, also for NaN or infinity in the outputs."""
    inputs = _arrange_example(signature, example)
    try:
        outputs = runtime.predict(inputs)
        require_valid_outputs(signature, outputs, len(example))
    except InferenceError as error:
        raise ArtifactRejected(
            f"The model failed on the example rows: {error}", field="example"
        ) from error
    for output in signature.outputs:
        values = outputs[output.name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ArtifactRejected(
                f"The model returns NaN or infinity in '{output.name}' for the example rows.",
                field="example",
            )
    return outputs


def _arrange_example(signature: Signature, example: Sequence[object]) -> Arrays:
    try:
        return arrange(signature, example)
    except InvalidInput as error:
        path, messages = next(iter(error.errors.items()))
        field = f"example[{error.row}]" + (f".{path}" if path else "")
        raise ArtifactRejected(" ".join(messages), field=field) from error


def _prove_model(request: JSONObject) -> JSONObject:
    runtime, signature = load_model(request)
    framework = request["framework"]
    if request["example"]:
        outputs = score_example(runtime, signature, request["example"])
        rows = [_arrange_example(signature, request["example"][: n_probe_rows(signature)])]
        with suppress(InferenceError):
            rows += probes.scorable_rows(runtime, signature, framework)
    else:
        rows, outputs = _score_synthetic_rows(runtime, signature, framework)
    signature = replace(signature, batching=probes.proved_batching(runtime, signature, rows))
    if isinstance(runtime, SignatureRefiner):
        signature = runtime.refine_signature(signature, outputs)
        if any(output.kind == "probabilities" for output in signature.outputs):
            # Scores may sum to 1 for one row, and for another not.
            for answers in probes.single_answers(runtime, rows):
                signature = runtime.refine_signature(signature, answers)
    document = signature.as_json()
    try:
        # It must survive being stored and parsed again, as serving does.
        check_json(document)
        Signature.from_json(document)
    except ValueError as error:
        raise ArtifactRejected(f"The names in the file cannot be used: {error}") from error
    return {"signature": document, "libraries": dict(runtime.libraries)}


def _score_synthetic_rows(
    runtime: Runtime, signature: Signature, framework: str
) -> tuple[list[Arrays], Outputs]:
    """The synthetic rows that the model can score, and its outputs for the first of them."""
    try:
        rows = probes.scorable_rows(runtime, signature, framework)
        outputs = runtime.predict(take(rows[0], [0]))
        require_valid_outputs(signature, outputs, 1)
    except InferenceError as error:
        raise ArtifactRejected(
            f"The model failed on synthetic rows: {str(error).removesuffix('.')}; send example"
            " rows that it accepts."
        ) from error
    return rows, outputs


def _load_options(request: JSONObject) -> LoadOptions:
    remote, declared = request.get("remote"), request["declared"]
    try:
        return LoadOptions(
            frozenset(request["trusted_types"]),
            RemoteOptions(frozenset(remote["origins"]), remote["secrets"])
            if remote
            else RemoteOptions(),
            declared=None if declared is None else Signature.from_json(declared),
        )
    except SignatureError as error:
        raise ArtifactRejected(_as_sentence(error), field="signature") from error


def _as_sentence(error: Exception) -> str:
    """The message with a full stop and a capital, unless it begins with the path of a field."""
    text = str(error)
    if not text.partition(" ")[0].endswith(":"):
        text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


if __name__ == "__main__":
    sandbox.serve(_prove_model)
