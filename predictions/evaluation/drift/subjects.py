"""How many subjects the rows of a window are about, without keeping the subjects.

Rows of one subject depend on each other: a thousand rows of ten customers say little more than ten
rows. So that statistics can allow for it, the 256 subjects whose salted hashes are smallest are
kept, with their numbers of rows. That is a uniform sample of the subjects, exact below 256 of them,
and the sample of two windows together follows from their samples: E. Cohen and H. Kaplan,
"Summarizing data using bottom-k sketches", PODC 2007.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictions.evaluation.drift.tables import BoolArray, IntArray

SAMPLE_SIZE = 256
HASH_BYTES = 8
SEED_BYTES = 16
_NO_HASH = b"\0" * HASH_BYTES

HashArray = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class HashedSubjects:
    """The subjects of n rows: their hashes, and which rows have one."""

    hashes: HashArray
    known: BoolArray

    @classmethod
    def of(cls, subjects: Sequence[str | None] | None, rows: int, salt: str) -> "HashedSubjects":
        if subjects is None:
            return cls(np.zeros(rows, np.uint64), np.zeros(rows, np.bool_))
        key = salt.encode()[:64]
        digests: dict[str | None, bytes] = {
            # Once for each subject: many have several rows.
            subject: hashlib.blake2b(subject.encode(), digest_size=HASH_BYTES, key=key).digest()
            for subject in set(subjects)
            if subject is not None
        }
        joined = b"".join([digests.get(subject, _NO_HASH) for subject in subjects])
        hashes = np.frombuffer(joined, "<u8").astype(np.uint64)
        return cls(hashes, np.array([subject is not None for subject in subjects], np.bool_))

    def sample(self, mask: BoolArray | None = None) -> "SubjectSample":
        known = self.known if mask is None else self.known & mask
        rows = len(known) if mask is None else int(mask.sum())
        hashes, counts = np.unique(self.hashes[known], return_counts=True)
        return SubjectSample(
            rows - int(known.sum()), hashes[:SAMPLE_SIZE], counts[:SAMPLE_SIZE].astype(np.int64)
        )


@dataclass(frozen=True, slots=True)
class SubjectSample:
    """A bottom-k sample of subjects, hashes ascending, and how many rows have no subject."""

    rows_without: int
    hashes: HashArray
    counts: IntArray

    @classmethod
    def empty(cls) -> "SubjectSample":
        return cls(0, np.zeros(0, np.uint64), np.zeros(0, np.int64))

    def __add__(self, other: "SubjectSample") -> "SubjectSample":
        return _merged([self, other])

    @property
    def distinct(self) -> float:
        """How many subjects there are: exact below 256, else the unbiased estimate (k - 1) / u of
        the k-th smallest hash u in (0, 1), with a relative error of about 1 / sqrt(k - 2)."""
        if len(self.hashes) < SAMPLE_SIZE:
            return float(len(self.hashes))
        return (SAMPLE_SIZE - 1) / ((float(self.hashes[-1]) + 1) / 2**64)

    def effective_rows(self, rows: int) -> float:
        """How many independent rows say as much as these `rows` do, at worst.

        n² / Σ m² for subjects with m rows each: L. Kish, "Survey sampling" (1965), 8.2, where the
        rows of a subject are all alike. With equal m, it is the number of subjects.
        """
        if not len(self.hashes):
            return float(rows)
        counts = self.counts.astype(np.float64)
        squares = self.rows_without + self.distinct * float((counts**2).mean())
        return min(float(rows), rows**2 / squares)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows_without": self.rows_without,
            "hashes": base64.b64encode(self.hashes.astype("<u8").tobytes()).decode(),
            "rows": self.counts.tolist(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "SubjectSample":
        hashes = np.frombuffer(base64.b64decode(document["hashes"]), "<u8").astype(np.uint64)
        return cls(int(document["rows_without"]), hashes, np.array(document["rows"], np.int64))

    @classmethod
    def sum_json(cls, documents: Sequence[dict[str, Any]]) -> "SubjectSample":
        """The sum of one or more samples."""
        return _merged([cls.from_json(document) for document in documents])


def _merged(samples: Sequence[SubjectSample]) -> SubjectSample:
    hashes, index = np.unique(
        np.concatenate([sample.hashes for sample in samples]), return_inverse=True
    )
    # In integers: a sum of weights in floating point would not be exact beyond 2^53.
    counts = np.zeros(len(hashes), np.int64)
    np.add.at(counts, index, np.concatenate([sample.counts for sample in samples]))
    rows_without = sum(sample.rows_without for sample in samples)
    return SubjectSample(rows_without, hashes[:SAMPLE_SIZE], counts[:SAMPLE_SIZE])
