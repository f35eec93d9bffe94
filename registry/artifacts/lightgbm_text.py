"""Whether a LightGBM text file is complete and of a known version. No Django here.

Source: `GBDT::SaveModelToString` in LightGBM's `gbdt_model_text.cpp`.
"""

import json
import mmap
import re
from pathlib import Path

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.foreign.advice import DAMAGED, LIGHTGBM_SAVE

# LightGBM 4 writes v4, and reads the two before it.
KNOWN_VERSIONS = ("v2", "v3", "v4")
_HEADER_BYTES = 4096
_VERSION = re.compile(rb"\nversion=([^\r\n]*)")
_END_OF_HEADER = b"\nTree="
_IMPORTANCE = re.compile(rb".+=\d+|feature importances:")


def require_complete(path: Path) -> None:
    """Raise ArtifactRejected for a file that is cut or of an unknown version."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        version = _require_known_version(text)
        if version == "v2" and (importances := _importances_of_early_v2(text)) >= 0:
            last_line = text[importances:].strip().rpartition(b"\n")[2]
            rest = b"" if _IMPORTANCE.fullmatch(last_line) else last_line
        else:
            rest = text[_end_of_parameters(text) :].strip()
    # The Python package appends this line; the command line tool does not.
    if rest:
        name, _, value = rest.partition(b":")
        try:
            json.loads(value)
        except ValueError as error:
            raise ArtifactRejected(DAMAGED.format("its last line is incomplete")) from error
        if name != b"pandas_categorical":
            raise ArtifactRejected(DAMAGED.format("its last line is not LightGBM's"))


def _end_of_parameters(text: mmap.mmap) -> int:
    position = 0
    for marker in (b"\nend of trees", b"\nend of parameters"):
        position = text.find(marker, position)
        if position < 0:
            missing = marker.decode().strip()
            raise ArtifactRejected(DAMAGED.format(f"the LightGBM model lacks '{missing}'"))
    return position + len(marker)


def _importances_of_early_v2(text: mmap.mmap) -> int:
    """Where the list behind the trees begins, -1 for any other file.

    The first files of v2 have no marker behind their trees, and no parameters. LightGBM reads the
    trees by their sizes in the header. A cut list is not noticed: no prediction depends on it.
    """
    if text.find(b"\nend of trees") >= 0:
        return -1
    return text.find(b"\nfeature importances:")


def _require_known_version(text: mmap.mmap) -> str:
    match = _VERSION.search(text[:_HEADER_BYTES])
    version = match[1].decode(errors="replace") if match else None
    if version in KNOWN_VERSIONS:
        return version
    if version is not None:
        problem = f"has the format {version[:20]!r}, of a newer LightGBM"
    elif len(text) > _HEADER_BYTES or text.find(_END_OF_HEADER) >= 0:
        problem = "names no version of its format, so an early LightGBM wrote it"
    else:
        raise ArtifactRejected(DAMAGED.format("the LightGBM model ends in its header"))
    raise ArtifactRejected(
        f"This is a LightGBM model that {problem}. mlapi takes the formats"
        f" {', '.join(KNOWN_VERSIONS)}. Train it with LightGBM 4 and save it with {LIGHTGBM_SAVE}."
    )
