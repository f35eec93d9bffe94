"""Loads and scores a new artifact in a subprocess with limits, before anything trusts it.

Native parsers end their process on a damaged file, and a crafted one can make them loop or fill
the memory: that must happen in here, to nobody else. No Django here. Run as `-m registry.proof`, it
is that subprocess: a request as JSON on standard input, an answer as JSON on a pipe of its own.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.arrangement import InvalidInput, arrange
from registry.completion import complete
from registry.runtimes import runtime_module
from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs, Runtime
from registry.signature import Output, Signature, SignatureError
from registry.sniffing import ArtifactRejected

PROJECT_ROOT = Path(__file__).resolve().parent.parent
# What the subprocess may know of this one: where its libraries are, and nothing it could tell.
PASSED_VARIABLES = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS")
}
PROBABILITY_TOLERANCE = 1e-3
MEMORY_EXIT_CODE = 77
_SHOWN_CHATTER = 400


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
    request = {
        "path": str(path.resolve()),
        "framework": framework,
        "trusted_types": sorted(options.trusted_types),
        "declared": declared,
        "example": list(example),
        "cpu_seconds": int(timeout_seconds) + 1,
        "memory_bytes": memory_bytes,
    }
    answer = _run(json.dumps(request).encode(), timeout_seconds, memory_bytes)
    if "rejected" in answer:
        field, message = answer["rejected"]
        raise ArtifactRejected(message, field=field)
    return Proof(answer["signature"], answer["libraries"])


def _run(request: bytes, timeout_seconds: float, memory_bytes: int) -> dict[str, Any]:
    answers, child_end = os.pipe()
    with os.fdopen(answers, "rb") as answer:
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", "registry.proof", str(child_end)],
                cwd=PROJECT_ROOT,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(child_end,),
                start_new_session=True,
            )
        finally:
            os.close(child_end)
        try:
            _, chatter = child.communicate(request, timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ArtifactRejected(
                f"Loading and scoring the model took longer than {timeout_seconds:g} s."
            ) from None
        finally:
            _end(child)
        said = answer.read()
    if child.returncode != 0 or not said:
        raise ArtifactRejected(_death(child.returncode, chatter, timeout_seconds, memory_bytes))
    result: dict[str, Any] = json.loads(said)
    return result
