"""Reads an ONNX model whose weights are in files beside it. No Django here.

The keys of external data are those of `external_data` in ONNX's onnx.proto.
"""

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from registry.runtimes.base import LoadError
from registry.runtimes.onnx.graph import external_tensors

# A protobuf message cannot be larger.
MAX_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Range:
    """Where the values of a tensor are."""

    path: Path
    offset: int
    length: int


def read_whole_model(path: Path, *, limit_bytes: int) -> bytes:
    """The model with its weights inside, as one file.

    The other files must be in the model's folder or below it, also after links are followed. Raises
    LoadError if they are not, are missing or too short, or if the model would exceed the limit.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise LoadError("the file is not an ONNX model, or it is damaged or truncated") from error
    tensors = external_tensors(model)
    ranges = [_locate(tensor, path.parent) for tensor in tensors]
    n_bytes = path.stat().st_size + sum(part.length for part in ranges)
    if n_bytes > min(limit_bytes, MAX_BYTES):
        raise LoadError(
            f"the model and its weights have {n_bytes} bytes; the limit for one file is "
            f"{min(limit_bytes, MAX_BYTES)}"
        )
    for tensor, part in zip(tensors, ranges, strict=True):
        with part.path.open("rb") as file:
            file.seek(part.offset)
            tensor.raw_data = file.read(part.length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    content: bytes = model.SerializeToString()
    return content


def _locate(tensor: onnx.TensorProto, folder: Path) -> _Range:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _resolve(folder.resolve(), location)
    if not path.is_file():
        raise LoadError(
            f"the model keeps '{tensor.name}' in the file '{location}', which is not beside it: put"
            " both files into one folder"
        )
    size = path.stat().st_size
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or size - offset)
    except ValueError as error:
        raise LoadError(f"the place of '{tensor.name}' in '{location}' is not a number") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise LoadError(
            f"'{location}' is damaged or truncated: '{tensor.name}' needs bytes {offset} to "
            f"{offset + length}, but the file has {size}"
        )
    return _Range(path, offset, length)


def _resolve(folder: Path, location: str) -> Path:
    """The path of a file in the folder; neither links nor `..` may lead out of it."""
    try:
        path = (folder / location).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(f"'{location[:100]}' is not a valid path of a file") from error
    if not location or Path(location).is_absolute() or not path.is_relative_to(folder):
        raise LoadError(
            f"the model keeps its weights in '{location[:100]}', outside of its own folder"
        )
    return path
