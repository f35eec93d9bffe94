"""Detects which framework wrote a file, from its content and never from its name.

The file is not trusted yet: its bytes are inspected here, and no ML library parses them. No Django
here.
"""

import json
import mmap
import pickletools
import re
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from registry.artifacts.errors import ArtifactRejected
from registry.runtimes import FRAMEWORKS
from registry.runtimes.open_inference.document import MAX_DOCUMENT_BYTES, is_document

HEAD_BYTES = 4096
# A zip compresses a real model two or three times. A much higher ratio is a zip bomb.
MAX_ZIP_RATIO = 20
MAX_ZIP_ALLOWANCE_BYTES = 64 * 2**20

_SAFE_EXPORTS = "; ".join(f"{row.name}: {row.export}" for row in FRAMEWORKS.values())
_INSTEAD_OF_PICKLE = (
    "mlapi never unpickles a file, because unpickling runs any code the file contains. "
    f"Export the model in a safe format. {_SAFE_EXPORTS}."
)
_DAMAGED = (
    "The file is damaged or truncated: {}. Export the model again and send the complete file."
)

# (first bytes, what the file is, what to do instead)
_FOREIGN_FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x80", "a pickle (or a joblib or old PyTorch file, which are pickles)", _INSTEAD_OF_PICKLE),
    (b"\x1f\x8b", "compressed by gzip, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"BZh", "compressed by bz2, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\xfd7zXZ\x00", "compressed by xz, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x5d\x00\x00", "compressed by lzma, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x04\x22\x4d\x18", "compressed by lz4, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x78\x01", "compressed by zlib, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x78\x5e", "compressed by zlib, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x78\x9c", "compressed by zlib, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x78\xda", "compressed by zlib, as joblib.dump does", _INSTEAD_OF_PICKLE),
    (b"\x93NUMPY", "a NumPy array, not a model", f"Export the model itself. {_SAFE_EXPORTS}."),
    (b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it", "Export it to ONNX, with tf2onnx."),
    (b"GGUF", "a GGUF language model", "mlapi serves predictive models, not language models."),
    (b"binf", "XGBoost's old binary format", FRAMEWORKS["xgboost"].export + " writes the new one."),
    (b"PAR1", "Parquet data, not a model", f"Export the model itself. {_SAFE_EXPORTS}."),
    (b"version https://git-lfs", "a Git LFS pointer", "Send the file it points to: git lfs pull."),
)
_UBJ_START = re.compile(rb"\{[iUIlL].{1,8}?(learner|version)", re.DOTALL)
_JSON_START = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
_HTML_START = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


def check_framework(path: Path, framework: str | None) -> str:
    """Detect the framework of the file and compare it with the one the caller named, if any.

    Raises ArtifactRejected for whatever `sniff` rejects, for a framework that mlapi does not
    support and for one that contradicts the content.
    """
    if framework is not None and framework not in FRAMEWORKS:
        raise ArtifactRejected(
            f"Unknown framework '{framework}'. mlapi supports {', '.join(FRAMEWORKS)}.",
            field="framework",
        )
    detected = sniff(path)
    if framework not in (None, detected):
        raise ArtifactRejected(
            f"The request names the framework '{framework}', but this is a file of '{detected}'.",
            field="framework",
        )
    return detected


def sniff(path: Path) -> str:
    """Detect which framework's format the file has; returns a key of FRAMEWORKS.

    Raises ArtifactRejected, which says what the file is instead and how to export it. Only the
    outer format is checked; `registry.artifacts.proof` checks that the model loads.
    """
    size = path.stat().st_size
    if size == 0:
        raise ArtifactRejected("The file is empty.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, size - HEAD_BYTES))
        tail = file.read()
    if head.startswith(b"PK"):
        return _sniff_zip(path, size)
    # Checked before XGBoost's JSON, which may also begin with a "version".
    if size <= MAX_DOCUMENT_BYTES and is_document(path.read_bytes()):
        return "open-inference"
    if (framework := _sniff_text_formats(path, head, tail)) is not None:
        return framework
    if head.startswith(b"CBM1"):
        return "catboost"
    if _is_onnx(head):
        return "onnx"
    raise _rejection(head, size)


def _sniff_text_formats(path: Path, head: bytes, tail: bytes) -> str | None:
    if head.startswith((b"tree\n", b"tree\r\n")):
        _require_complete_lightgbm(path)
        return "lightgbm"
    if _UBJ_START.match(head) or _JSON_START.match(head):
        if not tail.rstrip().endswith(b"}"):
            raise ArtifactRejected(_DAMAGED.format("the XGBoost model has no end"))
        return "xgboost"
    return None


def _is_onnx(head: bytes) -> bool:
    # A ModelProto starts with field 1, the version of the format; the newest so far is 13.
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 32


def _require_complete_lightgbm(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b"\nversion=", 0, HEAD_BYTES) < 0:
            raise ArtifactRejected(_DAMAGED.format("the LightGBM model has no version"))
        position = 0
        for marker in (b"\nend of trees", b"\nend of parameters"):
            position = text.find(marker, position)
            if position < 0:
                missing = marker.decode().strip()
                raise ArtifactRejected(_DAMAGED.format(f"the LightGBM model lacks '{missing}'"))
        rest = text[position + len(marker) :].strip()
    # The Python package appends this line; the command line tool does not.
    if rest:
        name, _, value = rest.partition(b":")
        try:
            json.loads(value)
        except ValueError as error:
            raise ArtifactRejected(_DAMAGED.format("its last line is incomplete")) from error
        if name != b"pandas_categorical":
            raise ArtifactRejected(_DAMAGED.format("its last line is not LightGBM's"))


# -- zip archives


def _sniff_zip(path: Path, size: int) -> str:
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    # zipfile raises various exceptions for crafted archives.
    except (BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ArtifactRejected(_DAMAGED.format(f"the archive cannot be read ({error})")) from error
    names = {member.filename for member in members}
    if "schema.json" not in names:
        raise _zip_rejection(names)
    unpacked = sum(member.file_size for member in members)
    limit = MAX_ZIP_RATIO * size + MAX_ZIP_ALLOWANCE_BYTES
    if unpacked > limit:
        raise ArtifactRejected(
            f"The archive of {size} bytes unpacks to {unpacked} bytes; the limit is {limit}."
        )
    if len(names) < len(members):
        raise ArtifactRejected("The archive contains two files with the same name.")
    return "sklearn"


def _zip_rejection(names: set[str]) -> ArtifactRejected:
    base_names = {Path(name).name for name in names}
    if "data.pkl" in base_names:
        return ArtifactRejected(
            "This is a PyTorch file, which contains a pickle. " + _INSTEAD_OF_PICKLE
        )
    if names and all(name.endswith(".npy") for name in names):
        return ArtifactRejected(
            f"This is an archive of NumPy arrays. Export the model itself. {_SAFE_EXPORTS}."
        )
    for marker, description in (
        ("saved_model.pb", "TensorFlow SavedModel"),
        ("model.weights.h5", "Keras model"),
    ):
        if marker in base_names:
            return ArtifactRejected(f"This is a {description}. Export it to ONNX, with tf2onnx.")
    return ArtifactRejected(
        f"This is a zip archive of an unknown kind. Send the model file itself. {_SAFE_EXPORTS}."
    )


# -- files that are not models


def _rejection(head: bytes, size: int) -> ArtifactRejected:
    for magic, description, instead in _FOREIGN_FORMATS:
        if head.startswith(magic):
            return ArtifactRejected(f"This is {description}. {instead}")
    if _is_safetensors(head, size):
        return ArtifactRejected("This is a file of safetensors weights. Export the model to ONNX.")
    if _HTML_START.match(head):
        return ArtifactRejected("This is a web page. Was it downloaded without logging in?")
    if head[4:8] == b"TFL3":
        return ArtifactRejected("This is a TensorFlow Lite model. Export it to ONNX, with tf2onnx.")
    if _is_text_pickle(head):
        return ArtifactRejected(f"This is a pickle of protocol 0 or 1. {_INSTEAD_OF_PICKLE}")
    if head.lstrip().startswith(b"{"):
        return ArtifactRejected(
            "This is JSON, but neither an XGBoost model nor a description of a remote model. For"
            f" XGBoost: {FRAMEWORKS['xgboost'].export}. For a remote model:"
            f" {FRAMEWORKS['open-inference'].export}."
        )
    return ArtifactRejected(f"This is not a model file that mlapi supports. {_SAFE_EXPORTS}.")


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 9 and head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= size


def _is_text_pickle(head: bytes) -> bool:
    """Whether the bytes are the opcodes of a pickle, which are read and never executed.

    They must lead from the first byte to the pickle's end, to a class it imports, or through more
    than eight opcodes to the end of `head`.
    """
    n_opcodes = 0
    try:
        for opcode, _, _ in pickletools.genops(head):
            n_opcodes += 1
            if opcode.name in ("GLOBAL", "INST", "STOP"):
                return True
    except (ValueError, OverflowError, UnicodeError):
        return n_opcodes > 8
    return False
