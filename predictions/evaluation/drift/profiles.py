"""The profile of a reference: what is compared, in which bins, and what the reference had there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from predictions.evaluation.drift.bins import (
    VariableProfile,
    bins_from_json,
    bins_of,
)
from predictions.evaluation.drift.calibration import Calibrator
from predictions.evaluation.drift.counts import Counts, count, count_segments
from predictions.evaluation.drift.quality import Quality
from predictions.evaluation.drift.tables import (
    BoolArray,
    FloatArray,
    Table,
)

FORMAT = 1
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
    small_segments: the rows of segments that are too few to be compared with.
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
    small_segments: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        table: Table,
        *,
        salt: str,
        labels: FloatArray | None = None,
        classes: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> "Profile":
        """The profile of a reference's rows, together with the version's answers on them, without
        segments.

        salt: mixed into the hashes of subjects; the same in all profiles that are to recognise the
            same subject, and at most 64 bytes.
        labels: the truth of each row, NaN where it is not known: of a classifier the index of the
            class, of a regressor the value.
        classes: the names of a classifier's classes; empty for a regressor.

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
        return replace(profile, counts=count(profile, table))

    def with_segments(self, table: Table, masks: Mapping[str, BoolArray]) -> "Profile":
        """The same with counts of segments, given which rows of its table are in each."""
        rows = {segment: int(mask.sum()) for segment, mask in masks.items()}
        large = {name: mask for name, mask in masks.items() if rows[name] >= MIN_SEGMENT_ROWS}
        return replace(
            self,
            segments=count_segments(self, table, large),
            small_segments={name: n for name, n in rows.items() if n < MIN_SEGMENT_ROWS},
        )

    def reference_counts(self, segment: str) -> Counts | None:
        """What the window of a segment is compared with; None if the reference has no such rows.

        The arms of an alias get their subjects at random: each is compared with all rows.
        """
        if not segment or segment.startswith("arm="):
            return self.counts
        return self.segments.get(segment)

    def why_not_compared(self, segment: str) -> str:
        """Why it has no counts of a segment, in words."""
        rows = self.small_segments.get(segment)
        if rows is None:
            return (
                "The reference was set before a monitor had this segment; set it again to have the"
                " segment compared"
            )
        if rows == 0:
            return "The reference has no rows of this segment"
        return (
            f"The reference has too few rows of this segment: {rows} of at least {MIN_SEGMENT_ROWS}"
        )

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory; most of it are the counts of segments."""
        return self.counts.size_bytes + sum(each.size_bytes for each in self.segments.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "rows": self.rows,
            "labelled_rows": self.labelled_rows,
            "variables": {key: bins.as_json() for key, bins in self.variables.items()},
            "counts": self.counts.as_json(),
            "segments": {key: counts.as_json() for key, counts in self.segments.items()},
            "small_segments": dict(self.small_segments),
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
            # Earlier profiles have none.
            small_segments=document.get("small_segments", {}),
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


def _calibrator(table: Table, labels: FloatArray | None, known: BoolArray) -> Calibrator | None:
    if labels is None or table.probabilities is None:
        return None
    use = known & ~np.isnan(table.probabilities).any(axis=1)
    return Calibrator.fit(table.probabilities[use], labels[use].astype(np.int64))
