"""The car loans of NannyML's wheel: applications, and whether the loans were repaid.

The data are synthetic, and made to drift: 50,000 applications of a reference period, then ten
chunks of 5,000, of which the last five are of dearer cars. The wheel (Apache License 2.0) is
downloaded once, without what it depends on.
"""

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.harness.environments import CACHE, INSTALL_TIMEOUT_SECONDS, NotInstallable

WHEEL = "nannyml==0.13.1"
DATA = "nannyml/datasets/data/synthetic_car_loan"
CHUNK_ROWS = 5000

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
    def load(cls) -> "CarLoans":
        """Raises NotInstallable if the wheel cannot be downloaded."""
        with zipfile.ZipFile(_wheel()) as wheel:
            parts = [
                _columns(wheel.read(f"{DATA}_{part}.csv").decode())
                for part in ("reference", "analysis", "analysis_target")
            ]
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
