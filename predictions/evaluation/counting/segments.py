"""Segments of rows: by the values of a feature or of a metadata key, or by the arm of an alias."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from predictions.evaluation.counting import hours, ledger
from predictions.evaluation.drift.bins import (
    CategoryBins,
    NumberBins,
    VariableProfile,
    shorten,
    shortened,
)
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.quality import LEVELS
from predictions.evaluation.drift.tables import INPUT_PREFIX, BoolArray, Categories, Numbers, Table
from predictions.evaluation.references.tables import category
from predictions.models import MAX_SEGMENT_LENGTH, HourCounts, Monitor, Prediction

# A feature whose values are not listed has segments of its most frequent values in the reference.
N_FREQUENT_VALUES = 10
# A number has them only if it has at most this many different values.
MAX_DISTINCT_NUMBERS = 20
# A reference keeps counts of every variable for each segment. These are its segments at most, ...
MAX_REFERENCE_SEGMENTS = 200
# ... those that no monitor asks for, ...
MAX_FREQUENT_SEGMENTS = 50
# ... and about the memory of them all.
MAX_SEGMENT_BYTES = 32 * 2**20
# What a segment takes for each variable, and for each class of the estimated quality.
BYTES_OF_VARIABLE, BYTES_OF_CLASS = 1500, 2 * 8 * LEVELS
KEY = re.compile(r"((?:[^\\=]|\\.)*)=", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows with one value of a feature or of a metadata key, or of one arm."""

    source: Literal["feature", "metadata", "arm"]
    name: str
    value: str

    @property
    def text(self) -> str:
        """As counts and findings name it, such as "feature:plan=gold" or "arm=canary".

        No two segments have the same text: a name that contains "=" has "\\=" instead.
        """
        name = self.name.replace("\\", "\\\\").replace("=", "\\=")
        key = "arm" if self.source == "arm" else f"{self.source}:{name}"
        return f"{key}={self.value}"


def key_of(text: str) -> str:
    """What the segment with this text is by, such as "feature:plan"."""
    found = KEY.match(text)
    return found[1] if found else text


@dataclass(frozen=True, slots=True)
class SegmentedRows:
    """What rows have beside the columns of their table."""

    table: Table
    metadata: Sequence[Any] | None
    arms: Sequence[str | None]
    # The rows of each value: there are many segments of few features.
    _places: dict[tuple[str, str], dict[str | None, list[int]]] = field(
        init=False, default_factory=dict
    )

    def mask(self, segment: Segment) -> BoolArray:
        """Which rows are in a segment."""
        column = self.table.columns.get(INPUT_PREFIX + segment.name)
        if segment.source == "feature" and isinstance(column, Numbers):
            number = _number(segment.value)
            if number is not None:
                return np.equal(column.values, number)
        mask = np.zeros(self.table.rows, np.bool_)
        source = segment.source, segment.name
        if source not in self._places:
            self._places[source] = _places_by_value(self._values(segment))
        mask[self._places[source].get(segment.value, [])] = True
        return mask

    def _values(self, segment: Segment) -> Iterable[str | None]:
        """The texts that tell of each row which of such segments it is in."""
        if segment.source == "arm":
            return self.arms
        if segment.source == "metadata":
            return [_member(document, segment.name) for document in self.metadata or ()]
        column = self.table.columns.get(INPUT_PREFIX + segment.name)
        return shortened(column.values) if isinstance(column, Categories) else ()


def _places_by_value(values: Iterable[str | None]) -> dict[str | None, list[int]]:
    places: dict[str | None, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        places[value].append(place)
    return places


def expand(definition: Mapping[str, Any], profile: Profile) -> list[Segment]:
    """The segments of one entry of Monitor.segments."""
    if definition.get("arm"):
        return [Segment("arm", "", arm) for arm in Prediction.Arm.values]
    source: Literal["feature", "metadata"] = "feature" if "feature" in definition else "metadata"
    name = str(definition[source])
    bins = profile.variables.get(INPUT_PREFIX + name) if source == "feature" else None
    if "values" in definition:
        values = [shorten(category(value)) for value in definition["values"]]
        if isinstance(bins, NumberBins):
            values = [_canonical(value) for value in values]
    else:
        values = _frequent_values(bins)
    # 1 and "1" are the same.
    return [Segment(source, name, value) for value in dict.fromkeys(values)]


def _frequent_values(bins: VariableProfile | None) -> list[str]:
    """Its most frequent values in the reference, as segments name them."""
    if isinstance(bins, CategoryBins):
        return list(bins.values[:N_FREQUENT_VALUES])
    if bins is None or not 0 < len(bins.edges) <= MAX_DISTINCT_NUMBERS:
        return []
    # Bins that have more than one value have another mean than their end.
    is_one_value = np.isclose(bins.means, bins.edges, rtol=1e-12, atol=0.0)
    rows = bins.counts[1 : bins.above]
    places = [place for place in np.argsort(-rows, kind="stable") if is_one_value[place]]
    return [category(float(bins.edges[place])) for place in places[:N_FREQUENT_VALUES]]


def reference_segments(
    model_name: str, profile: Profile, features: Iterable[str]
) -> tuple[list[Segment], int]:
    """The segments that a reference of the model counts its rows by, and how many it leaves out:
    those of its monitors first, then the most frequent values of these features, since a monitor
    may ask for them one day. Arms have no rows in a reference.
    """
    asked = [each for each in segments_of(model_name, profile) if each.source != "arm"]
    frequent = [
        Segment("feature", name, value)
        for name in features
        for value in _frequent_values(profile.variables.get(INPUT_PREFIX + name))
    ]
    most = _max_segments(profile)
    all_segments = dict.fromkeys(asked + frequent[:MAX_FREQUENT_SEGMENTS])
    return list(all_segments)[:most], max(len(asked) - most, 0)


def _max_segments(profile: Profile) -> int:
    classes = 0 if profile.calibrator is None else len(profile.calibrator.functions)
    size = len(profile.variables) * BYTES_OF_VARIABLE + classes * BYTES_OF_CLASS
    return min(MAX_SEGMENT_BYTES // max(size, 1), MAX_REFERENCE_SEGMENTS)


def segments_of(model_name: str, profile: Profile) -> list[Segment]:
    """The segments that are counted of a model's version: those of its active monitors."""
    monitors = Monitor.objects.filter(registered_model__name=model_name, is_active=True)
    found = {
        segment: None
        for definitions in monitors.order_by("pk").values_list("segments", flat=True)
        for definition in definitions
        for segment in expand(definition, profile)
        if len(segment.text) <= MAX_SEGMENT_LENGTH
    }
    return list(found)


def has_metadata(segments: Iterable[Segment]) -> bool:
    return any(segment.source == "metadata" for segment in segments)


def is_segmented_by_metadata(model_name: str) -> bool:
    """Whether any of the model's active monitors has segments by metadata."""
    monitors = Monitor.objects.filter(registered_model__name=model_name, is_active=True)
    lists = monitors.values_list("segments", flat=True)
    return any("metadata" in definition for definitions in lists for definition in definitions)


def segments_changed(model_name: str) -> None:
    """Count all rows of a model again, after the segments of its monitors were changed.

    Must be called in the transaction that changes the monitors.
    """
    with ledger.changing():
        counts = HourCounts.objects.filter(reference__model__name=model_name)
        counts.exclude(segment="").delete()
        hours.mark_model(model_name)


def _member(document: Any, name: str) -> str | None:
    if type(document) is not dict or (value := document.get(name)) is None:
        return None
    return shorten(category(value))


def _canonical(text: str) -> str:
    """A number as the reference names it."""
    number = _number(text)
    return text if number is None or not math.isfinite(number) else category(number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
