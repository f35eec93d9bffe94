"""The car loans of NannyML's wheel: applications, and whether the loans were repaid.

The data are synthetic, and made to drift: 50,000 applications of a reference period, then ten
chunks of 5,000, of which the last five are of dearer cars. The wheel (Apache License 2.0) is
downloaded once, without what it depends on, unless a folder with its three files is given.
"""

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness.environments import CACHE, INSTALL_TIMEOUT_SECONDS, NotInstallable

WHEEL = "nannyml==0.13.1"
DATA = "nannyml/datasets/data"
FILES = tuple(
    f"synthetic_car_loan_{part}.csv" for part in ("reference", "analysis", "analysis_target")
)
CHUNK_ROWS = 5000
CHUNKS = 10
# The first that drifts, counted from 0.
DRIFTING_CHUNK = 5

FloatArray = npt.NDArray[np.float64]
Columns = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class CarLoans:
    """Columns of text, as they are in the files."""

    reference: Columns
    analysis: Columns
    truth: FloatArray
    """Of the analysis: 1.0 for a loan that was repaid, else 0.0."""

    @classmethod
    def load(cls, folder: Path | None = None) -> "CarLoans":
        """From the files in `folder`, by default those of the wheel.

        Raises NotInstallable if a file is missing, or the wheel cannot be downloaded.
        """
        if folder is None:
            with zipfile.ZipFile(_wheel()) as wheel:
                parts = [_columns(wheel.read(f"{DATA}/{name}").decode()) for name in FILES]
        else:
            if missing := [name for name in FILES if not (folder / name).is_file()]:
                raise NotInstallable(f"{folder} has no {', '.join(missing)}")
            parts = [_columns((folder / name).read_text("utf-8")) for name in FILES]
        return cls(parts[0], parts[1], floats(parts[2], "repaid"))


def floats(columns: Columns, name: str) -> FloatArray:
    return np.array(columns[name], np.float64)


def rows(columns: Columns) -> Iterator[dict[str, str]]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _columns(text: str) -> Columns:
    found = list(csv.DictReader(io.StringIO(text)))
    return {name: [row[name] for row in found] for name in found[0]}


def _wheel() -> str:
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("nannyml-*.whl")):
        print(f"downloading {WHEEL} (once) ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        completed = subprocess.run(  # noqa: S603
            [*command, "--dest", str(folder)],
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            check=False,
        )
        if completed.returncode:
            raise NotInstallable(f"{WHEEL}: {completed.stderr.strip()[-600:]}")
    return str(next(folder.glob("nannyml-*.whl")))
