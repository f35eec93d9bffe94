"""Which framework wrote a file, told by its content and never by its name.

No Django here, and no ML library: the file is not trusted yet, so it is only looked at.
"""

import json
import mmap
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from registry.runtimes import FRAMEWORKS
from registry.runtimes.open_inference.document import MAX_DOCUMENT_BYTES, is_document

HEAD_BYTES = 4096
# Real models shrink two or three times in a zip; what unpacks beyond this fills the memory instead.
MAX_ZIP_RATIO = 20
MAX_ZIP_GRACE_BYTES = 64 * 2**20

_SAFE_EXPORTS = "; ".join(f"{row.name}: {row.export}" for row in FRAMEWORKS.values())
_INSTEAD_OF_PICKLE = (
    "mlapi never unpickles a file, because a pickle runs whatever code it holds. "
    f"Export the model in a safe format. {_SAFE_EXPORTS}."
)
_DAMAGED = "The file is damaged or truncated: {}. Export the model again and send all of it."

# (first bytes, what it is, what to do instead)
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
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
    (b"CBM1", "a CatBoost model", "Export it to ONNX: model.save_model(path, format='onnx')."),
    (b"binf", "XGBoost's old binary format", FRAMEWORKS["xgboost"].export + " writes the new one."),
    (b"PAR1", "Parquet data, not a model", f"Export the model itself. {_SAFE_EXPORTS}."),
    (b"version https://git-lfs", "a Git LFS pointer", "Send the file it points to: git lfs pull."),
)
_UBJ_START = re.compile(rb"\{[iUIlL].{1,8}?(learner|version)", re.DOTALL)
_JSON_START = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
_HTML_START = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


class ArtifactRejected(ValueError):
    """A file that mlapi does not take as a model.

    `errors` maps the field of the request that is to blame ("artifact", "framework", "signature",
    "example" or a path below it) to messages for the caller.
    """

    def __init__(self, message: str, *, field: str = "artifact") -> None:
        super().__init__(message)
        self.errors: dict[str, list[str]] = {field: [message]}


class ArtifactTooLarge(ArtifactRejected):
    """A file above the limit in bytes."""


def check_framework(path: Path, framework: str | None) -> str:
    """The framework of the file, after a look that it is the one the caller named, if any.

    Raises ArtifactRejected for what `sniff` refuses, for a framework that mlapi does not know and
    for one that contradicts the content.
    """
    if framework is not None and framework not in FRAMEWORKS:
        raise ArtifactRejected(
            f"Unknown framework '{framework}': mlapi serves {', '.join(FRAMEWORKS)}.",
            field="framework",
        )
    found = sniff(path)
    if framework not in (None, found):
        raise ArtifactRejected(
            f"The request says '{framework}', but the file is one of '{found}'.", field="framework"
        )
    return found


def sniff(path: Path) -> str:
    """The framework whose format the content of the file is; a key of FRAMEWORKS.

    Raises ArtifactRejected, which says what the file is instead and how to export it. A framework
    answered here is a promise about the outer form alone: whether the model loads,
    `registry.artifacts.proof` tells.
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
    # Before XGBoost's JSON, which may begin with a "version" too.
    if size <= MAX_DOCUMENT_BYTES and is_document(path.read_bytes()):
        return "open-inference"
    for recognise in (_sniff_text_formats, _sniff_onnx):
        framework = recognise(path, head, tail)
        if framework is not None:
            return framework
    raise _unknown(head, size)


def _sniff_text_formats(path: Path, head: bytes, tail: bytes) -> str | None:
    if head.startswith((b"tree\n", b"tree\r\n")):
        _require_complete_lightgbm(path)
        return "lightgbm"
    if _UBJ_START.match(head) or _JSON_START.match(head):
        if not tail.rstrip().endswith(b"}"):
            raise ArtifactRejected(_DAMAGED.format("the XGBoost model does not end"))
        return "xgboost"
    return None


def _sniff_onnx(path: Path, head: bytes, tail: bytes) -> str | None:
    # A ModelProto starts with field 1, the version of the format, of which there are 13 so far.
    return "onnx" if len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 32 else None


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
    # What zipfile raises on crafted directories is not one type.
    except (BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ArtifactRejected(_DAMAGED.format(f"the archive cannot be read ({error})")) from error
    names = {member.filename for member in members}
    if "schema.json" not in names:
        raise _unknown_zip(names)
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_ZIP_RATIO * size + MAX_ZIP_GRACE_BYTES:
        raise ArtifactRejected(
            f"The archive of {size} bytes unpacks to {unpacked}, too many to be a model."
        )
    if len(names) < len(members):
        raise ArtifactRejected("The archive holds two files of one name.")
    return "sklearn"


def _unknown_zip(names: set[str]) -> ArtifactRejected:
    endings = {Path(name).name for name in names}
    if "data.pkl" in endings:
        return ArtifactRejected(
            "This is a PyTorch file, which holds a pickle. " + _INSTEAD_OF_PICKLE
        )
    if names and all(name.endswith(".npy") for name in names):
        return ArtifactRejected(
            f"This is an archive of NumPy arrays. Export the model itself. {_SAFE_EXPORTS}."
        )
    for marker, what in (
        ("saved_model.pb", "TensorFlow SavedModel"),
        ("model.weights.h5", "Keras model"),
    ):
        if marker in endings:
            return ArtifactRejected(f"This is a {what}. Export it to ONNX, with tf2onnx.")
    return ArtifactRejected(
        "This is a zip archive that mlapi does not know. Send the model file itself. "
        f"{_SAFE_EXPORTS}."
    )


# -- everything else


def _unknown(head: bytes, size: int) -> ArtifactRejected:
    for magic, what, instead in _MAGIC:
        if head.startswith(magic):
            return ArtifactRejected(f"This is {what}. {instead}")
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: _is_safetensors(head, size), "safetensors weights. Export the model to ONNX"),
        (lambda: _HTML_START.match(head) is not None, "a web page. Was it downloaded logged out?"),
        (lambda: head[4:8] == b"TFL3", "a TensorFlow Lite model. Export it to ONNX, with tf2onnx"),
    )
    for is_so, what in checks:
        if is_so():
            return ArtifactRejected(f"This is {what}.".replace("?.", "?"))
    if _is_text_pickle(head):
        return ArtifactRejected(f"This is a pickle of protocol 0 or 1. {_INSTEAD_OF_PICKLE}")
    if head.lstrip().startswith(b"{"):
        return ArtifactRejected(
            f"This is JSON, but not a model of XGBoost: {FRAMEWORKS['xgboost'].export} writes one. "
            f"Nor is it a remote model: {FRAMEWORKS['open-inference'].export}."
        )
    return ArtifactRejected(f"This is not a model file mlapi knows. {_SAFE_EXPORTS}.")


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 9 and head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= size


def _is_text_pickle(head: bytes) -> bool:
    """Whether the opcodes of a pickle, read and never run, lead from the first byte to its end, to
    a class it would import, or to the end of what was read.
    """
    seen = 0
    try:
        for opcode, _, _ in pickletools.genops(head):
            seen += 1
            if opcode.name in ("GLOBAL", "INST", "STOP"):
                return True
    except (ValueError, OverflowError, UnicodeError):
        return seen > 8
    return False
