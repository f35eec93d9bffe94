"""Loads and scores a new artifact in a subprocess with limits, before anything trusts it.

Native parsers end their process on a damaged file, and a crafted one can make them loop or fill
the memory: that must happen in here, to nobody else. No Django here. Run as
`-m registry.artifacts.proof`, it is that subprocess: a request as JSON on standard input, an answer
as JSON on what was its standard output before any library was loaded.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from registry.artifacts.sniffing import ArtifactRejected
from registry.exact_json.values import check_json
from registry.runtimes import runtime_module
from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
    RemoteOptions,
    Runtime,
)
from registry.signatures.arrangement import InvalidInput, arrange
from registry.signatures.completion import complete
from registry.signatures.signature import Output, Signature, SignatureError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
# What the subprocess may know of this one: where its libraries are, and nothing it could tell.
PASSED_VARIABLES = (
    *("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    # Where OpenSSL finds an installation's own authorities, for remote models.
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PROBABILITY_TOLERANCE = 1e-3
MEMORY_EXIT_CODE = 77
LOADING = "Loading and scoring"
# How C++ libraries and onnxruntime's allocator say it in exceptions of their own.
OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a model that loads and scores tells of itself: `signature` is Signature.as_json()."""

    signature: dict[str, Any]
    libraries: dict[str, str]


def prove(
    path: Path,
    *,
    framework: str,
    options: LoadOptions,
    declared: Mapping[str, Any] | None,
    example: Sequence[object],
    timeout_seconds: float,
    memory_bytes: int,
) -> Proof:
    """Load the file as that framework, complete its signature and score it once, in a subprocess.

    It is scored on the `example` rows (each an `input_data`), or without them on a made-up row.
    Raises ArtifactRejected, with the field that is to blame, for everything that the file, the
    declared signature or the example rows do wrong, death, time and memory included.
    """
    request = request_of(
        path, framework=framework, options=options, declared=declared, example=example
    )
    if framework == "open-inference":
        request["remote"] = _remote(options)
    answer = run_bounded(
        "registry.artifacts.proof",
        request,
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
    )
    return Proof(answer["signature"], answer["libraries"])


def request_of(
    path: Path,
    *,
    framework: str,
    options: LoadOptions,
    declared: Mapping[str, Any] | None,
    example: Sequence[object],
) -> dict[str, Any]:
    """What `load_completed` in the subprocess needs of a model, as JSON."""
    return {
        "path": str(path.resolve()),
        "framework": framework,
        "trusted_types": sorted(options.trusted_types),
        "declared": declared,
        "example": list(example),
    }


def _remote(options: LoadOptions) -> dict[str, Any]:
    """What no other framework's subprocess gets to know: its parser may be taken over by a file."""
    return {
        "origins": sorted(options.remote.origins),
        "secrets": dict(options.remote.secrets),
    }


def run_bounded(
    module: str,
    request: Mapping[str, Any],
    *,
    timeout_seconds: float,
    memory_bytes: int,
    file_bytes: int = 0,
    task: str = LOADING,
) -> dict[str, Any]:
    """What that module of ours, which calls `serve` when it is run, answers to the request from a
    fresh subprocess with limits; no file it writes may exceed `file_bytes`.

    Raises ArtifactRejected for what it rejects, and where it dies; the message then names `task`.
    """
    limits = (int(timeout_seconds) + 1, memory_bytes, file_bytes)
    said = _run(module, json.dumps([limits, request]).encode(), timeout_seconds, memory_bytes, task)
    answer: dict[str, Any] = json.loads(said)
    if "rejected" in answer:
        field, message = answer["rejected"]
        # It may quote any byte of the file, half a surrogate pair too, which no answer can hold.
        raise ArtifactRejected(message.encode(errors="replace").decode(), field=field)
    return answer


def _run(
    module: str, request: bytes, timeout_seconds: float, memory_bytes: int, task: str
) -> bytes:
    child = subprocess.Popen(  # noqa: S603 - a module of ours, named by our own code
        [sys.executable, "-m", module],
        cwd=PROJECT_ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(request, timeout=timeout_seconds)
    except BaseException as error:
        # Its whole session, before it is reaped: its id is still its own.
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise ArtifactRejected(_too_slow(timeout_seconds, task)) from None
    if child.returncode != 0:
        raise ArtifactRejected(_death(child.returncode, timeout_seconds, memory_bytes, task))
    return said


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return passed | ONE_THREAD | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}


def _too_slow(timeout_seconds: float, task: str) -> str:
    return f"{task} the model took longer than {timeout_seconds:g} s."


def _death(returncode: int, timeout_seconds: float, memory_bytes: int, task: str = LOADING) -> str:
    memory = (
        f"{task} the model needs more than {memory_bytes // 2**20} MiB: it is too "
        "large, or damaged."
    )
    if returncode == MEMORY_EXIT_CODE:
        return memory
    if returncode == -signal.SIGXCPU:
        return _too_slow(timeout_seconds, task)
    if returncode == -signal.SIGKILL:
        return f"{memory} (SIGKILL)"
    how = signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"
    return (
        f"The file ended its parser ({how}): it is damaged. Export the model again and send all "
        "of it."
    )


# -- the subprocess


def _limit(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Bound this process, before it looks at the file. No file it writes grows past `file_bytes`,
    and nothing dumps its core.
    """
    # Not RLIMIT_AS: onnxruntime and pyarrow reserve far more addresses than they touch.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _examine(request: Mapping[str, Any]) -> dict[str, Any]:
    runtime, signature = load_completed(request)
    example = request["example"]
    outputs = score_example(runtime, signature, example) if example else _score(runtime, signature)
    if request["framework"] == "onnx":
        signature = _without_false_probabilities(signature, outputs)
    document = signature.as_json()
    try:
        # As it will be stored, and read for each answer.
        check_json(document)
        Signature.from_json(document)
    except ValueError as error:
        raise ArtifactRejected(f"The names in the file can not be used: {error}") from error
    return {"signature": document, "libraries": dict(runtime.libraries)}


def load_completed(request: Mapping[str, Any]) -> tuple[Runtime, Signature]:
    """The model of a request as `request_of` makes it, and its completed signature; raises
    ArtifactRejected.
    """
    options = _options(request)
    try:
        runtime = runtime_module(request["framework"]).load(Path(request["path"]), options)
    except LoadError as error:
        raise ArtifactRejected(_sentence(error)) from error
    return runtime, _completed(runtime.signature, options.declared, request["example"])


def _options(request: Mapping[str, Any]) -> LoadOptions:
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
        raise ArtifactRejected(_sentence(error), field="signature") from error


def _completed(told: Signature, declared: Signature | None, example: Sequence[object]) -> Signature:
    try:
        return complete(told, declared, example)
    except SignatureError as error:
        field = "example" if isinstance(error.__cause__, InvalidInput) else "signature"
        raise ArtifactRejected(_sentence(error), field=field) from error


def score_example(runtime: Runtime, signature: Signature, example: Sequence[object]) -> Outputs:
    """What the model answers to these rows; raises ArtifactRejected, NaN and infinity included."""
    try:
        inputs = arrange(signature, example)
    except InvalidInput as error:
        path, said = next(iter(error.errors.items()))
        field = f"example[{error.row}]" + (f".{path}" if path else "")
        raise ArtifactRejected(" ".join(said), field=field) from error
    try:
        outputs = runtime.predict(inputs)
    except InferenceError as error:
        raise ArtifactRejected(f"The model failed on them: {error}", field="example") from error
    _check_shapes(signature, outputs, len(example))
    for output in signature.outputs:
        values = outputs[output.name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ArtifactRejected(
                f"The model answers them with NaN or infinity in '{output.name}'.", field="example"
            )
    return outputs


def _score(runtime: Runtime, signature: Signature) -> Outputs:
    try:
        outputs = runtime.predict(signature.sample())
    except InferenceError as error:
        raise ArtifactRejected(
            f"The model could not be scored on made-up rows: {error}; send example rows that it "
            "accepts."
        ) from error
    _check_shapes(signature, outputs, 1)
    return outputs


def _check_shapes(signature: Signature, outputs: Outputs, n_rows: int) -> None:
    for output in signature.outputs:
        values = outputs[output.name]
        expected = (n_rows, *output.shape[1:])
        if len(values.shape) != len(expected) or any(
            wanted not in (-1, size) for wanted, size in zip(expected, values.shape, strict=True)
        ):
            raise ArtifactRejected(
                f"The model answers {n_rows} rows with '{output.name}' of shape "
                f"{list(values.shape)}, not {list(expected)}."
            )
        if output.kind == "label" and not ((values >= 0) & (values < len(output.classes))).all():
            raise ArtifactRejected(f"The model answers a class in '{output.name}' it has not.")


def _without_false_probabilities(signature: Signature, outputs: Outputs) -> Signature:
    """Decision scores travel through ONNX under the name of probabilities; their values tell."""

    def judged(output: Output) -> Output:
        values = outputs[output.name]
        if output.kind != "probabilities" or not np.isfinite(values).all():
            return output
        is_sound = (
            (values >= -PROBABILITY_TOLERANCE).all()
            and (values <= 1 + PROBABILITY_TOLERANCE).all()
            and (abs(values.sum(axis=-1) - 1) <= PROBABILITY_TOLERANCE).all()
        )
        return output if is_sound else replace(output, kind="value", classes=())

    return replace(signature, outputs=tuple(judged(output) for output in signature.outputs))


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _is_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or any(said in str(error) for said in OUT_OF_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def _answer(
    examine: Callable[[Mapping[str, Any]], Mapping[str, Any]], request: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        return examine(request)
    # Whatever a library raises here is a verdict on the file.
    except Exception as error:
        if _is_out_of_memory(error):
            os._exit(MEMORY_EXIT_CODE)
        if isinstance(error, ArtifactRejected):
            field, messages = next(iter(error.errors.items()))
            return {"rejected": [field, messages[0]]}
        return {"rejected": ["artifact", f"The model failed: {type(error).__name__}: {error}"]}


def serve(examine: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> NoReturn:
    """The other end of `run_bounded`: bound this process, answer its one request and end."""
    # Libraries print on standard output; the answer goes where they cannot reach.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    limits, request = json.load(sys.stdin.buffer)
    _limit(*limits)
    with os.fdopen(answers, "wb") as answer:
        answer.write(json.dumps(_answer(examine, request)).encode())
    # Without the libraries' own farewells: some hang or crash in them.
    os._exit(0)


if __name__ == "__main__":
    serve(_examine)
