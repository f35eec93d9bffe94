"""What loading a pickle would execute, found out without executing it. No Django here.

Runs as a subprocess, `-m registry.conversion.pickles.listing`: a crafted file could fill the memory
of whatever reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.conversion.pickles.imports import Risk, risk
from registry.conversion.pickles.unpacking import unpack
from registry.conversion.pickles.walk import (
    ARRAY_WRAPPER,
    OLD_ARRAY_WRAPPERS,
    Log,
    Walker,
    class_of,
    described_imports,
)
from registry.exact_json.values import JSONObject
from registry.signatures.signature import listed

Writer: TypeAlias = Literal["pickle", "joblib", "torch"]

UNPACKED = "unpacked"
# What torch.save wrote before its archives: this number, then three more pickles.
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
N_TORCH_PICKLES = 4
MAX_NAMES, MAX_SHOWN = 2000, 10
TASK = "Reading"


@dataclass(frozen=True, slots=True)
class Import:
    """A name that the pickle imports, and the arguments of its first call, "" without any."""

    name: str
    arguments: str
    risk: Risk


@dataclass(frozen=True, slots=True)
class Listing:
    """What a pickle is and what loading it executes.

    `root` is the class of the object in it, `versions` are the libraries' that wrote it, as far as
    the pickle says.
    """

    writer: Writer
    compression: str
    root: str
    imports: tuple[Import, ...]
    versions: Mapping[str, str]

    def of_risk(self, level: Risk) -> list[Import]:
        return [item for item in self.imports if item.risk == level]


def read_listing(
    path: Path, folder: Path, *, timeout_seconds: float, memory_bytes: int, file_bytes: int
) -> Listing:
    """List what loading the pickle in `path` executes, and write it uncompressed to `folder`.

    Raises ArtifactRejected if the file is not a pickle, or exceeds a limit.
    """
    reply = sandbox.run(
        "registry.conversion.pickles.listing",
        {"path": str(path.resolve()), "folder": str(folder.resolve())},
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
        task=TASK,
    )
    return Listing(
        writer=reply["writer"],
        compression=reply["compression"],
        root=reply["root"],
        imports=tuple(Import(name, arguments, risk(name)) for name, arguments in reply["imports"]),
        versions=reply["versions"],
    )


# -- in the subprocess


def list_imports(request: JSONObject) -> JSONObject:
    """Unpack and follow the pickle of the request."""
    unpacked = Path(request["folder"]) / UNPACKED
    compression, is_archive = unpack(Path(request["path"]), unpacked)
    log = Log()
    with unpacked.open("rb") as file:
        root = _walk(file, log)
        is_torch = is_archive or root == TORCH_MAGIC
        for _ in range(N_TORCH_PICKLES - 1 if root == TORCH_MAGIC else 0):
            root = _walk(file, log)
    if any(name in log.names for name in OLD_ARRAY_WRAPPERS):
        raise ArtifactRejected(
            "joblib before 0.10 wrote this file, with its arrays in other files. Load it with that"
            " joblib and save it again, with joblib.dump."
        )
    if own := [name for name in log.names if name.startswith("__main__.")]:
        raise ArtifactRejected(
            f"The pickle needs your own code, from the script or notebook that wrote it:"
            f" {listed(own[:MAX_SHOWN])}. Put it into a module of its own, import it from there,"
            " and write the pickle again."
        )
    if len(log.names) > MAX_NAMES:
        raise ArtifactRejected(f"The pickle imports more than {MAX_NAMES:,} names.")
    writer: Writer = "torch" if is_torch else "joblib" if ARRAY_WRAPPER in log.names else "pickle"
    return {
        "writer": writer,
        "compression": compression,
        "root": class_of(root),
        "imports": list(described_imports(log)),
        "versions": log.versions,
    }


def _walk(file: BinaryIO, log: Log) -> object:
    try:
        return Walker(file, log).load()
    except MemoryError:
        raise
    # A file that is no pickle makes the unpickler raise nearly anything.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ArtifactRejected(
            f"This is not a pickle, or a damaged one: {reason.splitlines()[0][:200]}."
        ) from error


if __name__ == "__main__":
    sandbox.serve(list_imports)
