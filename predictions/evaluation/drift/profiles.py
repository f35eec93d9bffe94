"""The profile of a reference: what is compared, in which bins, and what the reference had there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from predictions.evaluation.drift.bins import (
    CategoryBins,
    VariableProfile,
    bins_from_json,
    bins_of,
)
from predictions.evaluation.drift.calibration import Calibrator
from predictions.evaluation.drift.counts import Counts, count_segments
from predictions.evaluation.drift.quality import Quality
from predictions.evaluation.drift.tables import (
    INPUT_PREFIX,
    BoolArray,
    FloatArray,
    Numbers,
    Table,
)

FORMAT = 1
# Of each category input, the segments of so many most frequent values are kept ...
MAX_SEGMENT_VALUES = 10
# ... and of all inputs together, so many, as each has counts of every variable.
MAX_SEGMENTS = 50
# What fewer rows looked like is too uncertain to be compared with.
MIN_SEGMENT_ROWS = 100


class InvalidProfile(ValueError):
    """A reference that no profile can be built from, or a document that is none."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Immutable.

    counts: the reference's own rows, counted like those of a window.
    segments: the same for parts of the reference, by the segment's text. Windows of a segment are
        compared with these: customers of one plan need not look like all customers.
    notes: texts for people, such as which inputs are not compared, and why.
    """

    variables: Mapping[str, VariableProfile]
    rows: int
    labelled_rows: int
    counts: Counts
    calibrator: Calibrator | None
    quality: Quality | None
    salt: str
    segments: Mapping[str, Counts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        table: Table,
        *,
        salt: str,
        labels: FloatArray | None = None,
        classes: Sequence[str] = (),
        segments: Mapping[str, BoolArray] | None = None,
        notes: Sequence[str] = (),
    ) -> "Profile":
        """The profile of a reference's rows, together with the version's answers on them.

        salt: mixed into the hashes of subjects; the same in all profiles that are to recognise the
            same subject, and at most 64 bytes.
        labels: the truth of each row, NaN where it is not known: of a classifier the index of the
            class, of a regressor the value.
        classes: the names of a classifier's classes; empty for a regressor.
        segments: which rows belong to segments by metadata. Those of category inputs
            ("feature:plan=gold") are found here.

        Raises InvalidProfile for a table without rows.
        """
        if not table.rows:
            raise InvalidProfile("A reference must have at least one row")
        known = np.zeros(table.rows, np.bool_) if labels is None else np.isfinite(labels)
        profile = cls(
            {key: bins_of(key, column) for key, column in sorted(table.columns.items())},
            rows=table.rows,
            labelled_rows=int(known.sum()),
            counts=_NOTHING,
            calibrator=_calibrator(table, labels, known) if classes else None,
            quality=None if labels is None else Quality.of(table, labels, known, bool(classes)),
            salt=salt,
            notes=tuple(notes),
        )
        masks = {**_features(profile, table), **(segments or {})}
        large = {name: mask for name, mask in masks.items() if mask.sum() >= MIN_SEGMENT_ROWS}
        counted = count_segments(profile, table, {"": None, **large})
        return replace(profile, counts=counted.pop(""), segments=counted)

    def reference_counts(self, segment: str) -> Counts | None:
        """What the window of a segment is compared with; None if the reference has no such rows.

        The arms of an alias get their subjects at random: each is compared with all rows.
        """
        if not segment or segment.startswith("arm="):
            return self.counts
        return self.segments.get(segment)

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "rows": self.rows,
            "labelled_rows": self.labelled_rows,
            "variables": {key: bins.as_json() for key, bins in self.variables.items()},
            "counts": self.counts.as_json(),
            "segments": {key: counts.as_json() for key, counts in self.segments.items()},
            "calibrator": None if self.calibrator is None else self.calibrator.as_json(),
            "quality": None if self.quality is None else self.quality.as_json(),
            "salt": self.salt,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Profile":
        """The inverse of as_json; raises InvalidProfile for another format."""
        if document.get("format") != FORMAT:
            raise InvalidProfile(f"The profile's format is not {FORMAT}")
        calibrator, quality = document["calibrator"], document["quality"]
        profile = cls(
            {key: bins_from_json(key, bins) for key, bins in sorted(document["variables"].items())},
            document["rows"],
            document["labelled_rows"],
            _NOTHING,
            None if calibrator is None else Calibrator.from_json(calibrator),
            None if quality is None else Quality.from_json(quality),
            document["salt"],
            notes=tuple(document["notes"]),
        )
        return replace(
            profile,
            counts=Counts.from_json(profile, document["counts"]),
            segments={
                key: Counts.from_json(profile, counts)
                for key, counts in document["segments"].items()
            },
        )

    @property
    def digest(self) -> str:
        """The SHA-256 of its canonical JSON: keys in order, no spaces."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


_NOTHING = Counts.nothing()


def reference_counts(profile: Profile) -> Counts:
    """The reference's own rows, counted like those of a window."""
    return profile.counts


def segment_text(feature: str, value: str) -> str:
    """The segment of an input's value."""
    return f"feature:{feature}={value}"


def _features(profile: Profile, table: Table) -> dict[str, BoolArray]:
    """Which rows belong to the most frequent values of each category input."""
    masks: dict[str, BoolArray] = {}
    for key, bins in profile.variables.items():
        if not isinstance(bins, CategoryBins) or not key.startswith(INPUT_PREFIX):
            continue
        column = table.columns[key]
        assert not isinstance(column, Numbers)
        codes = bins.codes(column)
        for code, value in enumerate(bins.values[:MAX_SEGMENT_VALUES]):
            if len(masks) < MAX_SEGMENTS:
                masks[segment_text(bins.variable.label, value)] = codes == code
    return masks


def _calibrator(table: Table, labels: FloatArray | None, known: BoolArray) -> Calibrator | None:
    if labels is None or table.probabilities is None:
        return None
    use = known & ~np.isnan(table.probabilities).any(axis=1)
    return Calibrator.fit(table.probabilities[use], labels[use].astype(np.int64))
