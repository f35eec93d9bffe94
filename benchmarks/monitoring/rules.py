"""Rules that say which features of a window differ from the reference."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.monitoring.draws import Columns
from predictions.evaluation.drift.counts import count
from predictions.evaluation.drift.findings import compare
from predictions.evaluation.drift.measures import jensen_shannon
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import Categories, Column, Numbers, Table

# Tells the numbers of the features with an alarm.
Rule: TypeAlias = Callable[[Columns], set[int]]

CHUNKS = 10
DEVIATIONS = 3


def mlapi(reference: Columns) -> Rule:
    profile = Profile.build(_table(reference), salt="benchmark")

    def judge(window: Columns) -> set[int]:
        findings = compare(profile, {"": count(profile, _table(window))})
        alarms = [finding.variable for finding in findings if finding.severity]
        return {int(variable.removeprefix("input:")) for variable in alarms}

    return judge


def _table(columns: Columns) -> Table:
    return Table(len(columns[0]), {f"input:{i}": _typed(c) for i, c in enumerate(columns)})


def _typed(column: npt.NDArray[Any]) -> Column:
    return Numbers(column) if column.dtype.kind == "f" else Categories(column.tolist())


def nannyml(reference: Columns) -> Rule:
    """NannyML's default: the Jensen-Shannon distance on bins of the reference's histogram, and as
    threshold the mean of ten chunks of the reference plus three standard deviations.

    Checked against its published distance, see `published.py`; the package itself is 1.8 GB.
    """
    fitted = [jensen_shannon_to(column) for column in reference]
    thresholds = []
    for column, distance in zip(reference, fitted, strict=True):
        chunks = [distance(chunk) for chunk in np.array_split(column, CHUNKS)]
        thresholds.append(np.mean(chunks) + DEVIATIONS * np.std(chunks))

    def judge(window: Columns) -> set[int]:
        return {i for i, c in enumerate(window) if fitted[i](c) > thresholds[i]}

    return judge


def jensen_shannon_to(reference: npt.NDArray[Any]) -> Callable[[npt.NDArray[Any]], float]:
    if reference.dtype.kind != "f":
        names = np.unique(reference)
        known = np.array([(reference == name).sum() for name in names], np.float64)
        return lambda c: jensen_shannon(
            np.array([(c == name).sum() for name in names], np.float64), known
        )
    edges = np.histogram_bin_edges(reference, bins="doane")
    expected = np.append(np.histogram(reference, edges)[0], 0).astype(np.float64)

    def distance(column: npt.NDArray[Any]) -> float:
        inside = np.histogram(column, edges)[0]
        outside = len(column) - inside.sum()
        return jensen_shannon(np.append(inside, outside).astype(np.float64), expected)

    return distance
