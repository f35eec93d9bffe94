"""What a file is that is not a model mlapi takes. No Django here."""

import re
from pathlib import Path

from registry.artifacts.beginnings import framework_of
from registry.artifacts.foreign import advice, archives
from registry.artifacts.foreign.advice import Foreign
from registry.artifacts.foreign.binary import describe_binary
from registry.artifacts.foreign.compressed import MAX_UNPACKED_BYTES, unpack_start
from registry.artifacts.foreign.pickles import describe_pickle
from registry.artifacts.foreign.protobuf import is_graph_def
from registry.artifacts.foreign.texts import describe_text

START_BYTES = 2**16
TAIL_BYTES = 4096
_TAR = (257, b"ustar")
_UNKNOWN = Foreign(
    "not a model file that mlapi knows", f"Save the model in one of these ways. {advice.EXPORTS}."
)
# R's ASCII form: the version of the format, of R, and the oldest R that reads it.
_R_TEXT = re.compile(rb"A\n[23]\n\d{5,6}\n\d{5,6}\n")


def describe_file(path: Path) -> Foreign:
    """What the file is; it has already been found to be no model of a framework."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
    return _describe(start, tail, size) or _UNKNOWN


def _describe(start: bytes, tail: bytes, size: int) -> Foreign | None:
    is_whole = size <= len(start)
    if (unpacked := unpack_start(start)) is not None:
        return _describe_compressed(*unpacked, is_whole=is_whole)
    if _is_tar(start):
        return archives.describe_tar(start, "a tar archive")
    if (pickle := describe_pickle(start, is_whole=is_whole)) is not None:
        return pickle
    if (foreign := describe_binary(start, size)) is not None:
        return foreign
    if _R_TEXT.match(start):
        return Foreign("R data (.rds) as text", advice.R_MODEL)
    if is_graph_def(start):
        return advice.tensorflow(
            "a TensorFlow graph (.pb)", "--graphdef FILE --inputs NAMES --outputs NAMES"
        )
    return describe_text(start, tail, is_whole=is_whole)


def _describe_compressed(compression: str, content: bytes, *, is_whole: bool) -> Foreign:
    by = f"compressed by {compression}"
    if _is_tar(content):
        return archives.describe_tar(content, f"a tar archive {by}")
    if content.startswith(b"PK\x03\x04") or framework_of(content) is not None:
        return advice.packed(f"a model file {by}", f"{_UNPACKERS.get(compression, '7z x')} FILE")
    is_whole = is_whole and len(content) < MAX_UNPACKED_BYTES
    where = f", {by} as joblib.dump does"
    if (pickle := describe_pickle(content, where, is_whole=is_whole)) is not None:
        return pickle
    size = len(content) if is_whole else len(content) + 1
    inner = _describe(content, b"", size) if content else None
    if inner is None:
        return advice.pickled(f"{by}, perhaps a pickle of joblib.dump")
    return Foreign(f"{inner.what}, {by}", inner.instead)


_UNPACKERS = {"gzip": "gunzip", "bz2": "bunzip2", "xz": "unxz", "lzma": "unlzma"}


def _is_tar(start: bytes) -> bool:
    offset, magic = _TAR
    return start.startswith(magic, offset)
