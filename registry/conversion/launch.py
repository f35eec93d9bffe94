"""Has a model file converted to ONNX, in a subprocess with limits. No Django here.

The work happens in `registry.conversion.convert`. Only that process imports the converters and the
frameworks that they convert from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.artifacts import sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.proof import model_request
from registry.conversion.parity import Parity
from registry.exact_json.values import JSONObject
from registry.runtimes.base import LoadOptions

MIN_EXAMPLE_ROWS = 1000
N_SYNTHETIC_ROWS = 2000
TASK = "Converting and comparing"


@dataclass(frozen=True, slots=True)
class Conversion:
    """An ONNX file that scores like its source.

    `signature` declares what the file does not contain. `libraries` wrote the source. The file
    calculates in `precision`. `is_synthetic` means that the two were compared on synthetic rows,
    and `refuses_missing` that the file does not accept the source's missing values.
    """

    path: Path
    signature: JSONObject
    libraries: dict[str, str]
    precision: str
    parity: Parity
    is_synthetic: bool
    refuses_missing: bool


def convert(
    path: Path,
    folder: Path,
    *,
    framework: str,
    options: LoadOptions,
    declared: JSONObject | None,
    example: Sequence[object],
    timeout_seconds: float,
    memory_bytes: int,
    file_bytes: int,
) -> Conversion:
    """Write the ONNX form of a model file into `folder`, in a subprocess with limits.

    Both forms score the `example` rows (each an `input_data`, at least MIN_EXAMPLE_ROWS of them),
    or N_SYNTHETIC_ROWS synthetic rows if there are none. Raises ArtifactRejected if the file is
    ONNX already or cannot be converted, or, with figures, if its ONNX form scores differently.
    """
    _require_convertible(framework, example)
    request = model_request(
        path, framework=framework, options=options, declared=declared, example=example
    )
    result = sandbox.run(
        "registry.conversion.convert",
        request | {"folder": str(folder.resolve())},
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
        task=TASK,
    )
    return Conversion(
        path=folder / result["file"],
        signature=result["signature"],
        libraries=result["libraries"],
        precision=result["precision"],
        parity=Parity(**result["parity"]),
        is_synthetic=not example,
        refuses_missing=result["refuses_missing"],
    )


def _require_convertible(framework: str, example: Sequence[object]) -> None:
    if framework == "onnx":
        raise ArtifactRejected("The file is ONNX already: register it without --to onnx.")
    if framework == "open-inference":
        raise ArtifactRejected("The model is on another server: there is no file to convert.")
    if 0 < len(example) < MIN_EXAMPLE_ROWS:
        raise ArtifactRejected(
            f"{len(example):,} example rows prove too little: send at least {MIN_EXAMPLE_ROWS:,},"
            " or none.",
            field="example",
        )
