"""Segments of rows: by the values of a feature or of a metadata key, or by the arm of an alias."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from predictions.evaluation.counting import hours, ledger
from predictions.evaluation.drift.bins import CategoryBins, shorten, shortened
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import INPUT_PREFIX, BoolArray, Categories, Numbers, Table
from predictions.evaluation.references.tables import category
from predictions.models import MAX_SEGMENT_LENGTH, HourCounts, Monitor, Prediction

# Of a feature whose values are not listed: its most frequent categories in the reference.
N_FREQUENT_VALUES = 10


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows with one value of a feature or of a metadata key, or of one arm."""

    source: Literal["feature", "metadata", "arm"]
    name: str
    value: str

    @property
    def text(self) -> str:
        """As counts and findings name it, such as "feature:plan=gold" or "arm=canary"."""
        name = "arm" if self.source == "arm" else f"{self.source}:{self.name}"
        return f"{name}={self.value}"


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
    if "values" in definition:
        values = [shorten(category(value)) for value in definition["values"]]
    else:
        bins = profile.variables.get(INPUT_PREFIX + name)
        values = list(bins.values[:N_FREQUENT_VALUES]) if isinstance(bins, CategoryBins) else []
    return [Segment(source, name, value) for value in values]


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


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
