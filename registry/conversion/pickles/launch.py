"""Has the model in a pickle written in a safe format, in a confined process. No Django here.

The work happens in `registry.conversion.pickles.export`. Only that process loads the pickle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import model_request
from registry.conversion.parity import Parity
from registry.conversion.pickles.confinement import Confinement
from registry.conversion.pickles.listing import UNPACKED, Writer
from registry.exact_json.values import JSONObject
from registry.runtimes.base import LoadOptions

Target: TypeAlias = Literal["skops", "native"]

N_SYNTHETIC_ROWS = 2000
TASK = "Loading and comparing"
# The process may write to these files and to no other.
OUTPUT_FILES = {"sklearn": "model.skops", "xgboost": "model.ubj", "lightgbm": "model.txt"}
OUTPUT_FILES["catboost"] = "model.cbm"


@dataclass(frozen=True, slots=True)
class Export:
    """The model of a pickle in a file of `framework`, which answers like the model in the pickle.

    `signature` declares what the file does not contain. `version_warnings` name estimators that
    another version of their library wrote. `summary` describes the model in one line.
    """

    path: Path
    framework: str
    signature: JSONObject | None
    summary: str
    version_warnings: tuple[str, ...]
    parity: Parity
    is_synthetic: bool


def export(
    folder: Path,
    *,
    writer: Writer,
    target: Target | None,
    confinement: Confinement,
    options: LoadOptions,
    declared: JSONObject | None,
    example: Sequence[object],
    timeout_seconds: float,
    memory_bytes: int,
    file_bytes: int,
) -> Export:
    """Load the pickle that `read_listing` unpacked to `folder`, and write its model there.

    The process is confined at least as `confinement` says, or does not load the pickle. Both forms
    answer the `example` rows (each an `input_data`), or synthetic rows if there are none. Raises
    ArtifactRejected if the pickle cannot be loaded, has no model that can be written, or if the two
    answer differently.
    """
    for name in OUTPUT_FILES.values():
        (folder / name).touch()
    request = model_request(
        folder / UNPACKED, framework="", options=options, declared=declared, example=example
    )
    reply = sandbox.run(
        "registry.conversion.pickles.export",
        request
        | {
            "folder": str(folder.resolve()),
            "writer": writer,
            "target": target,
            "confinement": confinement.as_json(),
        },
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
        task=TASK,
    )
    return _read_reply(reply, folder, is_synthetic=not example)


def _read_reply(reply: JSONObject, folder: Path, *, is_synthetic: bool) -> Export:
    try:
        return Export(
            path=folder / OUTPUT_FILES[reply["framework"]],
            framework=reply["framework"],
            signature=reply["signature"],
            summary=str(reply["summary"]),
            version_warnings=tuple(map(str, reply["version_warnings"])),
            parity=Parity(**reply["parity"]),
            is_synthetic=is_synthetic,
        )
    # A pickle that took over the process can write any reply.
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactRejected("The process that loaded the pickle gave no valid reply.") from error
