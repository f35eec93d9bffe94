"""The bins of a reference: those of numbers at its quantiles, those of categories by name.

A row falls into exactly one bin of each variable, so that counts by bins are exact and add up. The
bins come from the reference alone: an outlier in a window moves none of them.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predictions.evaluation.drift.tables import (
    Categories,
    Column,
    FloatArray,
    IntArray,
    Kind,
    Numbers,
    Variable,
)

MAX_FINE_BINS = 100
MAX_CATEGORIES = 50
MAX_CATEGORY_LENGTH = 100

# A distance beyond the reference's range is counted in steps of this part of the range, and no
# farther than 2^20 times the range, so that sums of distances are integers of 64 bits.
STEPS_IN_RANGE = 2**20
MAX_STEPS = 2**40


@dataclass(frozen=True, slots=True)
class NumberBins:
    """Up to 100 bins of about equal shares of the reference, and four of their own.

    Bin 0 has the values below the reference's minimum; bins 1 to K those in (edges[k - 2],
    edges[k - 1]], the first from `minimum` on; bin K + 1 those above its maximum, the last edge;
    bin K + 2 the missing ones; bin K + 3 those that are no finite number. A value that the
    reference repeats often has a bin that ends with it. Without numbers in the reference, K = 0.
    """

    variable: Variable
    minimum: float | None
    edges: FloatArray
    means: FloatArray  # of the reference's values in bins 1 to K
    mean: float | None
    sd: float | None
    counts: IntArray  # of the reference, in all K + 4 bins

    kind: Kind = field(default="number", init=False)

    @classmethod
    def of(cls, variable: Variable, column: Numbers) -> "NumberBins":
        finite = column.values[_is_number(column)]
        shares = np.arange(1, MAX_FINE_BINS + 1) / MAX_FINE_BINS
        # The inverse of the distribution function yields values that occur, so that values which
        # repeat become the ends of bins.
        edges = (
            np.unique(np.quantile(finite, shares, method="inverted_cdf"))
            if finite.size
            else np.empty(0)
        )
        minimum = float(finite.min()) if finite.size else None
        empty = cls(variable, minimum, edges, edges, None, None, np.zeros(0, np.int64))
        codes = empty.codes(column)
        counts = np.bincount(codes, minlength=empty.size).astype(np.int64)
        if not finite.size:
            return cls(variable, None, edges, edges, None, None, counts)
        # Scaled, as sums and squares of huge values would overflow.
        scale = float(np.abs(finite).max()) or 1.0
        scaled = finite / scale
        inner = slice(1, len(edges) + 1)
        sums = np.bincount(codes[_is_number(column)], weights=scaled, minlength=empty.size)[inner]
        lower = np.append(finite.min(), edges[:-1])
        means = np.clip(sums / counts[inner] * scale, lower, edges)
        mean, sd = float(scaled.mean() * scale), float(scaled.std() * scale)
        return cls(variable, minimum, edges, means, mean, sd, counts)

    @property
    def size(self) -> int:
        return len(self.edges) + 4

    @property
    def maximum(self) -> float | None:
        return float(self.edges[-1]) if len(self.edges) else None

    @property
    def above(self) -> int:
        """The bin of values above the reference's maximum; below its minimum is bin 0."""
        return len(self.edges) + 1

    @property
    def missing(self) -> int:
        return len(self.edges) + 2

    @property
    def unparsable(self) -> int:
        return len(self.edges) + 3

    def codes(self, column: Numbers) -> IntArray:
        """The bin of each row."""
        values = column.values
        codes = np.searchsorted(self.edges, values, side="left") + 1
        if self.minimum is not None:
            codes[values < self.minimum] = 0
        codes[np.isnan(values)] = self.missing
        unparsable = np.isinf(values)
        if column.unparsable is not None:
            unparsable |= column.unparsable
        codes[unparsable] = self.unparsable
        return codes.astype(np.int64, copy=False)

    def steps_beyond(self, values: FloatArray, edge: float) -> IntArray:
        """How far values lie from an end of the range, in steps."""
        with np.errstate(over="ignore"):
            steps = np.abs(values - edge) / self.step
        return np.rint(np.minimum(steps, MAX_STEPS)).astype(np.int64)

    @property
    def step(self) -> float:
        low, high = self.minimum or 0.0, self.maximum or 0.0
        # Halves, as the range of finite numbers need not be finite.
        half_range = high / 2 - low / 2 or abs(high) / 2 or 0.5
        return max(half_range / (STEPS_IN_RANGE / 2), float(np.finfo(np.float64).tiny))

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "minimum": self.minimum,
            "edges": self.edges.tolist(),
            "means": self.means.tolist(),
            "mean": self.mean,
            "sd": self.sd,
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_json(cls, key: str, document: dict[str, Any]) -> "NumberBins":
        return cls(
            Variable(key, "number"),
            None if document["minimum"] is None else float(document["minimum"]),
            np.array(document["edges"], np.float64),
            np.array(document["means"], np.float64),
            None if document["mean"] is None else float(document["mean"]),
            None if document["sd"] is None else float(document["sd"]),
            np.array(document["counts"], np.int64),
        )


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """The 50 most frequent categories of the reference, most frequent first, then "other", then
    missing."""

    variable: Variable
    values: tuple[str, ...]
    distinct: int  # in the reference
    singletons: int  # the reference's rows whose category occurs in no other row
    counts: IntArray  # of the reference, in all V + 2 bins

    kind: Kind = field(default="category", init=False)

    @classmethod
    def of(cls, variable: Variable, column: Categories) -> "CategoryBins":
        occurrences = Counter(shorten(value) for value in column.values if value is not None)
        ranked = sorted(occurrences.items(), key=lambda item: (-item[1], item[0]))
        values = tuple(value for value, _ in ranked[:MAX_CATEGORIES])
        rest = sum(n for _, n in ranked[MAX_CATEGORIES:])
        present = occurrences.total()
        counts = [*(occurrences[value] for value in values), rest, len(column) - present]
        singletons = sum(n == 1 for n in occurrences.values())
        return cls(variable, values, len(ranked), singletons, np.array(counts, np.int64))

    @property
    def size(self) -> int:
        return len(self.values) + 2

    @property
    def other(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> int:
        return len(self.values) + 1

    @property
    def is_complete(self) -> bool:
        """Whether every category of the reference has its bin: "other" are new ones, then."""
        return self.distinct <= MAX_CATEGORIES

    def codes(self, column: Categories) -> IntArray:
        """The bin of each row."""
        index: dict[str | None, int] = {value: code for code, value in enumerate(self.values)}
        index[None] = self.missing
        other = self.other
        codes = [index.get(value, other) for value in shortened(column.values)]
        return np.array(codes, np.int64)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "values": list(self.values),
            "distinct": self.distinct,
            "singletons": self.singletons,
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_json(cls, key: str, document: dict[str, Any]) -> "CategoryBins":
        return cls(
            Variable(key, "category"),
            tuple(document["values"]),
            int(document["distinct"]),
            int(document["singletons"]),
            np.array(document["counts"], np.int64),
        )


VariableProfile = NumberBins | CategoryBins


def bins_of(key: str, column: Column) -> VariableProfile:
    if isinstance(column, Numbers):
        return NumberBins.of(Variable(key, "number"), column)
    return CategoryBins.of(Variable(key, "category"), column)


def bins_from_json(key: str, document: dict[str, Any]) -> VariableProfile:
    if document["kind"] == "number":
        return NumberBins.from_json(key, document)
    return CategoryBins.from_json(key, document)


def shorten(value: str) -> str:
    """The name of a category's bin: a long one is cut, and told from others by a digest."""
    if len(value) <= MAX_CATEGORY_LENGTH:
        return value
    digest = hashlib.blake2b(value.encode(), digest_size=8).hexdigest()
    return f"{value[: MAX_CATEGORY_LENGTH - 17]}…{digest}"


def shortened(values: Sequence[str | None]) -> Sequence[str | None]:
    if all(value is None or len(value) <= MAX_CATEGORY_LENGTH for value in values):
        return values
    return [None if value is None else shorten(value) for value in values]


def _is_number(column: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    finite: np.ndarray[Any, np.dtype[np.bool_]] = np.isfinite(column.values)
    return finite if column.unparsable is None else finite & ~column.unparsable
