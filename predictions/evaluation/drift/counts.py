"""Counts of rows by the bins of a profile: exact, and the sum of two is that of all their rows."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from predictions.evaluation.drift.bins import (
    CategoryBins,
    NumberBins,
    VariableProfile,
    shortened,
)
from predictions.evaluation.drift.quality import ExpectedQuality
from predictions.evaluation.drift.subjects import HashedSubjects, SubjectSample
from predictions.evaluation.drift.tables import (
    BoolArray,
    Categories,
    Column,
    FloatArray,
    IntArray,
    Numbers,
    Table,
)

if TYPE_CHECKING:
    from predictions.evaluation.drift.profiles import Profile

MAX_NEW_CATEGORIES = 20
# What an array, and the object that holds it, take beside its numbers.
ARRAY_BYTES = 500
# Of bins that have any rows, their numbers and how many.
_SPARSE = ("bins", "rows")


@dataclass(frozen=True, slots=True)
class VariableCounts:
    """How many rows fell into each bin of a variable.

    minimum, maximum: of finite numbers; None for categories, and without any.
    beyond: how far below and above the reference's range its numbers lie, summed, in steps.
    new: rows by new category; of more than twenty categories, those with the smallest hashes, so
        that the sum of two counts is exact.
    """

    bins: IntArray
    minimum: float | None = None
    maximum: float | None = None
    beyond: tuple[int, int] = (0, 0)
    new: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "VariableCounts") -> "VariableCounts":
        ends = [end for end in (self.minimum, other.minimum) if end is not None]
        tops = [end for end in (self.maximum, other.maximum) if end is not None]
        return VariableCounts(
            self.bins + other.bins,
            min(ends, default=None),
            max(tops, default=None),
            (self.beyond[0] + other.beyond[0], self.beyond[1] + other.beyond[1]),
            _bounded(Counter(self.new) + Counter(other.new)) if self.new or other.new else {},
        )

    def as_json(self) -> dict[str, Any]:
        used = np.flatnonzero(self.bins)
        document: dict[str, Any] = {"bins": used.tolist(), "rows": self.bins[used].tolist()}
        if self.minimum is not None:
            document["range"] = [self.minimum, self.maximum]
        if any(self.beyond):
            document["beyond"] = list(self.beyond)
        if self.new:
            document["new"] = dict(self.new)
        return document

    @classmethod
    def sum_json(cls, size: int, documents: Sequence[dict[str, Any]]) -> "VariableCounts":
        """The sum of some counts, without an object for each."""
        used, rows = (
            np.array([value for document in documents for value in document[name]], np.int64)
            for name in _SPARSE
        )
        bins = np.zeros(size, np.int64)
        np.add.at(bins, used, rows)
        ranges = [document["range"] for document in documents if "range" in document]
        beyond = [document["beyond"] for document in documents if "beyond" in document]
        new: Counter[str] = Counter()
        for document in documents:
            if "new" in document:
                new.update(document["new"])
        return cls(
            bins,
            float(min(low for low, _ in ranges)) if ranges else None,
            float(max(high for _, high in ranges)) if ranges else None,
            (sum(below for below, _ in beyond), sum(above for _, above in beyond)),
            _bounded(new) if new else {},
        )

    @classmethod
    def from_json(cls, size: int, document: dict[str, Any]) -> "VariableCounts":
        bins = np.zeros(size, np.int64)
        bins[document["bins"]] = document["rows"]
        minimum, maximum = document.get("range", (None, None))
        below, above = document.get("beyond", (0, 0))
        # A database may give 1.0 back as 1.
        return cls(
            bins,
            None if minimum is None else float(minimum),
            None if maximum is None else float(maximum),
            (below, above),
            document.get("new", {}),
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of a set of rows, for every variable of one profile."""

    rows: int
    failed: int
    variables: Mapping[str, VariableCounts]
    violations: Mapping[str, int]  # rows that break a constraint, by its text
    subjects: SubjectSample
    quality: ExpectedQuality | None = None

    @classmethod
    def nothing(cls) -> "Counts":
        """No rows and no variables."""
        return cls(0, 0, {}, {}, SubjectSample.empty())

    @classmethod
    def empty(cls, profile: "Profile") -> "Counts":
        """No rows of each of the profile's variables."""
        return count(profile, Table(rows=0))

    @property
    def n_effective(self) -> float:
        """How many independent rows say as much; see SubjectSample.effective_rows."""
        return self.subjects.effective_rows(self.rows)

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        arrays = [self.subjects.hashes, self.subjects.counts]
        arrays += [each.bins for each in self.variables.values()]
        if self.quality is not None:
            arrays += [each.level_rows for each in self.quality.classes] * 2
        return sum(array.nbytes + ARRAY_BYTES for array in arrays)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows + other.rows,
            self.failed + other.failed,
            {key: counts + other.variables[key] for key, counts in self.variables.items()},
            dict(sorted((Counter(self.violations) + Counter(other.violations)).items())),
            self.subjects + other.subjects,
            _added(self.quality, other.quality),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "failed": self.failed,
            "variables": {key: counts.as_json() for key, counts in self.variables.items()},
            "violations": dict(self.violations),
            "subjects": self.subjects.as_json(),
            "quality": None if self.quality is None else self.quality.as_json(),
        }

    @classmethod
    def sum_json(cls, profile: "Profile", documents: Sequence[dict[str, Any]]) -> "Counts":
        """The sum of what `from_json` makes of one or more documents, in a fraction of the time."""
        by_variable = [document["variables"] for document in documents]
        violations: Counter[str] = Counter()
        for document in documents:
            violations.update(document["violations"])
        qualities = [each for document in documents if (each := document["quality"]) is not None]
        return cls(
            sum(document["rows"] for document in documents),
            sum(document["failed"] for document in documents),
            {
                key: VariableCounts.sum_json(
                    profile.variables[key].size, [counts[key] for counts in by_variable]
                )
                for key in by_variable[0]
            },
            dict(sorted(violations.items())),
            SubjectSample.sum_json([document["subjects"] for document in documents]),
            ExpectedQuality.sum_json(qualities) if qualities else None,
        )

    @classmethod
    def from_json(cls, profile: "Profile", document: dict[str, Any]) -> "Counts":
        """The inverse of as_json, for counts by the bins of this profile."""
        quality = document["quality"]
        return cls(
            document["rows"],
            document["failed"],
            {
                key: VariableCounts.from_json(profile.variables[key].size, counts)
                for key, counts in document["variables"].items()
            },
            document["violations"],
            SubjectSample.from_json(document["subjects"]),
            None if quality is None else ExpectedQuality.from_json(quality),
        )


def count(profile: "Profile", table: Table, mask: BoolArray | None = None) -> Counts:
    """Count the rows of a table, or those that `mask` selects."""
    return count_segments(profile, table, {"": mask})[""]


def count_segments(
    profile: "Profile", table: Table, masks: Mapping[str, BoolArray | None]
) -> dict[str, Counts]:
    """Count the rows of several segments, given the rows of each (None for all of them).

    A variable of the profile that the table has no column for, or one of another kind, counts no
    rows at all; columns that the profile does not know are ignored.
    """
    subjects = HashedSubjects.of(table.subjects, table.rows, profile.salt)
    binned = {
        key: _Binned.of(bins, table.columns.get(key)) for key, bins in profile.variables.items()
    }
    return {
        segment: Counts(
            table.rows if mask is None else int(mask.sum()),
            0 if table.failed is None else _selected(table.failed, mask),
            {key: each.count(mask) for key, each in binned.items()},
            {
                constraint: rows
                for constraint, broken in sorted(table.violations.items())
                if (rows := _selected(broken, mask))
            },
            subjects.sample(mask),
            None
            if profile.calibrator is None
            else ExpectedQuality.of(profile.calibrator, table, mask),
        )
        for segment, mask in masks.items()
    }


@dataclass(frozen=True, slots=True)
class _Binned:
    """The bins that the rows of one column fall into; found once for all segments."""

    bins: VariableProfile
    column: Column | None
    codes: IntArray

    @classmethod
    def of(cls, bins: VariableProfile, column: Column | None) -> "_Binned":
        # The kinds are told apart by type, so that each gets its own column.
        if isinstance(bins, NumberBins) and isinstance(column, Numbers):
            return cls(bins, column, bins.codes(column))
        if isinstance(bins, CategoryBins) and isinstance(column, Categories):
            return cls(bins, column, bins.codes(column))
        return cls(bins, None, np.zeros(0, np.int64))

    def count(self, mask: BoolArray | None) -> VariableCounts:
        if self.column is None:
            return VariableCounts(np.zeros(self.bins.size, np.int64))
        codes = self.codes if mask is None else self.codes[mask]
        rows = np.bincount(codes, minlength=self.bins.size).astype(np.int64)
        if isinstance(self.bins, NumberBins) and isinstance(self.column, Numbers):
            values = self.column.values if mask is None else self.column.values[mask]
            return _numbers(self.bins, values, codes, rows)
        return VariableCounts(rows, new=self._new(mask))

    def _new(self, mask: BoolArray | None) -> dict[str, int]:
        bins, column = self.bins, self.column
        if not isinstance(bins, CategoryBins) or not isinstance(column, Categories):
            return {}
        if not bins.is_complete:
            return {}
        selected = self.codes == bins.other
        if mask is not None:
            selected &= mask
        values = [column.values[row] for row in np.flatnonzero(selected).tolist()]
        return _bounded(Counter(value for value in shortened(values) if value is not None))


def _numbers(
    bins: NumberBins, values: FloatArray, codes: IntArray, rows: IntArray
) -> VariableCounts:
    finite = values[codes <= bins.above]
    if not finite.size:
        return VariableCounts(rows)
    beyond = [0, 0]
    if bins.minimum is not None and bins.maximum is not None:
        ends = ((0, bins.minimum), (bins.above, bins.maximum))
        beyond = [
            int(bins.steps_beyond(values[codes == code], end).sum()) if rows[code] else 0
            for code, end in ends
        ]
    low, high = float(finite.min()), float(finite.max())
    return VariableCounts(rows, low, high, (beyond[0], beyond[1]))


def _bounded(rows: Counter[str]) -> dict[str, int]:
    """The categories with the smallest hashes, by name."""
    kept = sorted(rows, key=_hash)[:MAX_NEW_CATEGORIES]
    return {name: rows[name] for name in sorted(kept)}


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _selected(rows: BoolArray, mask: BoolArray | None) -> int:
    return int(rows.sum() if mask is None else (rows & mask).sum())


def _added(a: ExpectedQuality | None, b: ExpectedQuality | None) -> ExpectedQuality | None:
    return a + b if a is not None and b is not None else a or b
