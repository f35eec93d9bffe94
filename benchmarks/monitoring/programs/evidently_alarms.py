"""Runs in Evidently's environment: which features its default tests call drifted.

Reads cells and a seed as JSON from standard input, and writes the numbers of the drifted features
of each report of each cell. The default tests are called as the report calls them, as a whole
report takes seconds; the first one of a cell of ten features is made in full, and must say the
same.
"""

import json
import sys
import warnings

import pandas as pd
from evidently import Report
from evidently.legacy.calculations.stattests.registry import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

from benchmarks.monitoring.draws import Cell, Columns


def main() -> None:
    request = json.load(sys.stdin)
    cells = [Cell(**cell) for cell in request["cells"]]
    json.dump([drifted_features(cell, request["seed"]) for cell in cells], sys.stdout)


def drifted_features(cell: Cell, seed: int) -> list[list[int]]:
    drifted = []
    for reference, windows in cell.draws(seed):
        for window in windows:
            drifted.append(tested(reference, window))
            is_first = len(drifted) == 1 and cell.features == 10
            if is_first and len(drifted[0]) != reported(reference, window):
                raise SystemExit("The tests called alone do not say what the report says")
    return drifted


def tested(reference: Columns, window: Columns) -> list[int]:
    is_number = reference[0].dtype.kind == "f"
    kind = ColumnType.Numerical if is_number else ColumnType.Categorical
    found = []
    for number, (before, now) in enumerate(zip(reference, window, strict=True)):
        a, b = pd.Series(before), pd.Series(now)
        test = get_stattest(a, b, kind, None)
        if test(a, b, kind, None).drifted:
            found.append(number)
    return found


def reported(reference: Columns, window: Columns) -> int:
    frames = [
        pd.DataFrame({f"f{number}": column for number, column in enumerate(columns)})
        for columns in (window, reference)
    ]
    (first, *_) = Report([DataDriftPreset()]).run(*frames).dict()["metrics"]
    return int(first["value"]["count"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
