"""Makes one file of an ONNX model and the files that hold its weights. No Django here.

MLflow and recent exporters of PyTorch write the weights to a second file. A version has a single
file, which its digest covers. The work happens in a subprocess with limits: this module is both the
caller and, run as `-m registry.artifacts.external_data`, the subprocess.
"""

import importlib
import mmap
from pathlib import Path

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.exact_json.values import JSONObject
from registry.runtimes.base import LoadError

# A StringStringEntryProto with the key "location", which each tensor in another file has.
_LOCATION = b"\x0a\x08location\x12"
# A ModelProto begins with field 1, the version of the format.
_ONNX_START = b"\x08"
SINGLE_FILE = "single.onnx"
TASK = "Reading"


def has_external_data(path: Path) -> bool:
    """Whether the file may be an ONNX model with weights in other files."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content[:1] == _ONNX_START and content.find(_LOCATION) >= 0


def make_single_file(
    path: Path, folder: Path, *, timeout_seconds: float, memory_bytes: int, limit_bytes: int
) -> Path:
    """Write the model with its weights inside to `folder`; returns the file.

    Raises ArtifactRejected if a file is missing, damaged or outside of the model's folder, or if
    the model would exceed `limit_bytes`.
    """
    sandbox.run(
        "registry.artifacts.external_data",
        {"path": str(path.absolute()), "folder": str(folder.resolve()), "limit": limit_bytes},
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        file_bytes=limit_bytes,
        task=TASK,
    )
    return folder / SINGLE_FILE


def _write_single_file(request: JSONObject) -> JSONObject:
    try:
        module = importlib.import_module("registry.runtimes.onnx.external_data")
    except ImportError as error:
        raise ArtifactRejected(
            f"mlapi cannot load onnx models: {error}. Install their library with pip install"
            " 'mlapi[onnx]'."
        ) from error
    try:
        content = module.read_whole_model(Path(request["path"]), limit_bytes=request["limit"])
    except LoadError as error:
        text = str(error)
        raise ArtifactRejected(f"{text[:1].upper()}{text[1:]}.") from error
    (Path(request["folder"]) / SINGLE_FILE).write_bytes(content)
    return {}


if __name__ == "__main__":
    sandbox.serve(_write_single_file)
