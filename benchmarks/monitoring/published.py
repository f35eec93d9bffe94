"""`python -m benchmarks published-figures`: this project's figures beside NannyML's published ones.

The published figures are in NannyML's example notebooks: the synthetic car loans of its wheel, ten
chunks of 5,000 rows.
"""

import argparse

import numpy as np

from benchmarks import report
from benchmarks.monitoring.car_loans import CHUNK_ROWS, CarLoans, Columns, floats
from benchmarks.monitoring.rules import jensen_shannon_to
from predictions.evaluation.drift.counts import count
from predictions.evaluation.drift.measures import kolmogorov_smirnov
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.quality import ExpectedQuality
from predictions.evaluation.drift.tables import Table

COLUMN = "debt_to_income_ratio"
# By the figure's name: what is published, and to how many digits after the point.
PUBLISHED = {
    "JS distance of debt_to_income_ratio, chunk 0": (0.0316611, 7),
    "KS distance of debt_to_income_ratio, chunk 0": (0.01576, 5),
    "CBPE accuracy, chunk 0": (0.941792, 6),
    "CBPE F1, chunk 0": (0.94303, 5),
    "CBPE ROC AUC, chunk 0": (0.970744, 6),
    "CBPE accuracy, chunk 1": (0.943321, 6),
    "CBPE F1, chunk 1": (0.941324, 6),
    "CBPE ROC AUC, chunk 1": (0.971011, 6),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(options: argparse.Namespace) -> int:
    loans = CarLoans.load()
    estimates = _estimates(loans)
    figures = _distances(loans)
    for number, estimate in enumerate(estimates[:2]):
        assert estimate.f1 is not None
        assert estimate.roc_auc is not None
        figures |= {
            f"CBPE accuracy, chunk {number}": estimate.accuracy or 0.0,
            f"CBPE F1, chunk {number}": estimate.f1,
            f"CBPE ROC AUC, chunk {number}": estimate.roc_auc,
        }
    rows, equal = [], True
    for name, (published, digits) in PUBLISHED.items():
        is_equal = round(figures[name], digits) == published
        equal &= is_equal
        rows.append([name, f"{published}", f"{figures[name]:.{digits}f}", _verdict(is_equal)])
    print(report.table(["figure", "published", "here", ""], rows))
    print("\nEstimated and true accuracy by chunk\n")
    print(report.table(["chunk", "estimated", "true", "gap"], _gaps(loans, estimates)))
    return 0 if equal else 1


def _estimates(loans: CarLoans) -> list[ExpectedQuality]:
    labels = floats(loans.reference, "repaid")
    profile = Profile.build(_table(loans.reference), salt="", labels=labels, classes=("0", "1"))
    table = _table(loans.analysis)
    chunks = np.arange(table.rows) // CHUNK_ROWS
    counted = [count(profile, table, chunks == chunk) for chunk in range(chunks.max() + 1)]
    return [counts.quality for counts in counted if counts.quality is not None]


def _distances(loans: CarLoans) -> dict[str, float]:
    reference, chunk = floats(loans.reference, COLUMN), floats(loans.analysis, COLUMN)
    chunk = chunk[:CHUNK_ROWS]
    # Every value has its own bin, so that the distance is exact.
    edges = np.append(np.unique(np.concatenate((reference, chunk))), np.inf)
    a, b = (np.histogram(values, edges)[0].astype(np.float64) for values in (chunk, reference))
    return {
        f"JS distance of {COLUMN}, chunk 0": jensen_shannon_to(reference)(chunk),
        f"KS distance of {COLUMN}, chunk 0": kolmogorov_smirnov(a, b),
    }


def _gaps(loans: CarLoans, estimates: list[ExpectedQuality]) -> list[list[str]]:
    is_right = floats(loans.analysis, "y_pred") == loans.truth
    rows = []
    for number, estimate in enumerate(estimates):
        true = float(is_right[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS].mean())
        estimated = estimate.accuracy or 0.0
        rows.append(
            [str(number), f"{estimated:.4f}", f"{true:.4f}", f"{abs(estimated - true):.4f}"]
        )
    return rows


def _table(columns: Columns) -> Table:
    scores = floats(columns, "y_pred_proba")
    return Table(
        len(scores),
        probabilities=np.column_stack((1 - scores, scores)),
        predicted=floats(columns, "y_pred").astype(np.int64),
    )


def _verdict(is_equal: bool) -> str:
    return "equal" if is_equal else "DIFFERENT"
