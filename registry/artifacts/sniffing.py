"""Detects which framework wrote a file, from its content and never from its name.

The file is not trusted yet: its bytes are inspected here, and no ML library parses them. No Django
here.
"""

import mmap
import zlib
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from registry.artifacts.beginnings import framework_of
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.foreign.advice import DAMAGED, xgboost
from registry.artifacts.foreign.archives import describe_zip
from registry.artifacts.foreign.describe import describe_file
from registry.artifacts.foreign.protobuf import describe_message
from registry.artifacts.lightgbm_text import require_complete
from registry.runtimes import FRAMEWORKS
from registry.runtimes.open_inference.document import MAX_DOCUMENT_BYTES, is_document

HEAD_BYTES = 4096
# A zip compresses a real model two or three times. A much higher ratio is a zip bomb.
MAX_ZIP_RATIO = 20
MAX_ZIP_ALLOWANCE_BYTES = 64 * 2**20
# The member of a skops file that describes the model.
SCHEMA = "schema.json"
# What zipfile raises for crafted archives; RuntimeError is for encrypted ones.
ZIP_ERRORS = (BadZipFile, OSError, ValueError, RuntimeError, EOFError, zlib.error, LZMAError)
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")


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
        raise ArtifactRejected("The file is empty. Send the complete file.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, size - HEAD_BYTES))
        tail = file.read()
    if head.startswith(ZIP_STARTS) or head == b"PK":
        return _sniff_zip(path, size)
    # Checked before XGBoost's JSON, which may also begin with a "version".
    if size <= MAX_DOCUMENT_BYTES and is_document(path.read_bytes()):
        return "open-inference"
    framework = framework_of(head)
    if framework == "lightgbm":
        require_complete(path)
    elif framework == "xgboost":
        _require_xgboost_model(head, tail)
    elif framework == "onnx":
        _require_onnx(path)
    if framework is None:
        raise ArtifactRejected(describe_file(path).message)
    return framework


def _require_xgboost_model(head: bytes, tail: bytes) -> None:
    if not tail.rstrip().endswith(b"}"):
        raise ArtifactRejected(DAMAGED.format("the XGBoost model has no end"))
    # The first member of the learner in what `save_config` returns; a model has none of this name.
    if b"generic_param" in head[:100]:
        config = xgboost("XGBoost's configuration of a model, as save_config returns it")
        raise ArtifactRejected(config.message)


def _require_onnx(path: Path) -> None:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as message,
    ):
        foreign = describe_message(message)
    if foreign is not None:
        raise ArtifactRejected(foreign.message)


# -- zip archives


def _sniff_zip(path: Path, size: int) -> str:
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
            schema = _start_of(archive, SCHEMA)
    except ZIP_ERRORS as error:
        raise ArtifactRejected(DAMAGED.format(f"the archive cannot be read ({error})")) from error
    names = {member.filename for member in members}
    if SCHEMA not in names:
        raise ArtifactRejected(describe_zip(names).message)
    unpacked = sum(member.file_size for member in members)
    limit = MAX_ZIP_RATIO * size + MAX_ZIP_ALLOWANCE_BYTES
    if unpacked > limit:
        raise ArtifactRejected(
            f"The archive of {size} bytes unpacks to {unpacked} bytes; the limit is {limit}."
        )
    if len(names) < len(members):
        raise ArtifactRejected("The archive contains two files with the same name.")
    # Other archives have a file of this name, too.
    if b"__class__" not in schema:
        raise ArtifactRejected(describe_zip(names).message)
    return "sklearn"


def _start_of(archive: ZipFile, name: str) -> bytes:
    """The first bytes of a member; none if there is no such member."""
    if name not in archive.namelist():
        return b""
    with archive.open(name) as member:
        return member.read(100)
