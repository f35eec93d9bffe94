"""Builds the profile of a reference from its rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from django.utils.crypto import salted_hmac

from predictions.evaluation.counting.segments import SegmentedRows, reference_segments
from predictions.evaluation.drift.bins import MAX_CATEGORIES
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import FloatArray, Table
from predictions.evaluation.labels import label_text, labels_by_spelling
from predictions.evaluation.quality.tasks import NoQuality, Task, task_of
from predictions.evaluation.references.errors import ReferenceRefused
from predictions.evaluation.references.features import features_of, is_text, left_out
from predictions.evaluation.references.tables import Rows, TableReader, category
from registry.models import ModelVersion
from registry.signatures.signature import Signature

# Rows that explanations compare with.
BACKGROUND_ROWS = 100


@dataclass(frozen=True, slots=True)
class ComparedVersion:
    """A version whose reference is built; raises ReferenceRefused for one without a signature."""

    version: ModelVersion
    signature: Signature = field(init=False)
    task: Task | None = field(init=False)

    def __post_init__(self) -> None:
        if self.version.signature is None:
            message = f"Model {self.version} has no signature yet: attach its artifact first"
            raise ReferenceRefused(message)
        object.__setattr__(self, "signature", Signature.from_json(self.version.signature))
        object.__setattr__(self, "task", compared_task(self.version))

    @property
    def is_masked(self) -> bool:
        """Whether the log leaves anything out of its inputs."""
        return any(tensor.sensitive for tensor in self.signature.inputs)


def compared_task(version: ModelVersion) -> Task | None:
    """What the version predicts; None if it has several outputs, which are not compared."""
    try:
        return task_of(version)
    except NoQuality:
        return None


def build_profile(
    compared: ComparedVersion, rows: Rows, labels: Sequence[object] | None = None
) -> Profile:
    """The profile of these rows. `labels` are their true classes or values, None where unknown.

    Equal rows give an equal profile, as long as SECRET_KEY and the segments of the model's monitors
    stay the same. Raises ReferenceRefused for a label that is no class of the version.
    """
    reader = TableReader(compared.signature, features_of(compared.signature), compared.task)
    values = reader.columns_of(rows.inputs)
    texts = {
        feature.name
        for feature in reader.features
        if feature.datatype == "BYTES"
        and is_text(_values_of(values[feature.place], feature.item), MAX_CATEGORIES)
    }
    reader = TableReader(compared.signature, features_of(compared.signature, texts), compared.task)
    classes = () if compared.task is None else compared.task.classes
    table = reader.table(rows, values)
    profile = Profile.build(
        table,
        salt=salt_of(compared.version),
        labels=None if labels is None else _numbers_of(compared, labels),
        classes=[category(label) for label in classes],
        notes=[
            f"{name} is not compared: {reason}"
            for name, reason in left_out(compared.signature).items()
        ],
    )
    return _with_segments(profile, compared, reader, table, rows.metadata)


def _with_segments(
    profile: Profile,
    compared: ComparedVersion,
    reader: TableReader,
    table: Table,
    metadata: Sequence[Any] | None,
) -> Profile:
    """With the segments of the model's monitors, and others that they may ask for."""
    names = [each.name for each in reader.features if each.item is None and each.kind != "text"]
    segments, n_left_out = reference_segments(compared.version.name, profile, names)
    rows = SegmentedRows(table, metadata, ())
    profile = profile.with_segments(table, {each.text: rows.mask(each) for each in segments})
    if not n_left_out:
        return profile
    note = f"{n_left_out} of the monitors' segments, as a reference keeps at most {len(segments)}"
    return replace(profile, notes=(*profile.notes, f"Not compared: {note}"))


def salt_of(version: ModelVersion) -> str:
    """What is mixed into the hashes of a version's subjects."""
    return salted_hmac("mlapi.references", str(version.pk), algorithm="sha256").hexdigest()


def evenly_spaced(rows: Sequence[Any]) -> list[Any]:
    """At most BACKGROUND_ROWS of the rows."""
    count = min(len(rows), BACKGROUND_ROWS)
    return [rows[number * len(rows) // count] for number in range(count)]


def anonymous(subjects: Sequence[str | None]) -> list[str | None]:
    """Numbers for subjects: a profile never changes, so it must not tell of any subject who may be
    erased one day. It only needs to know which rows belong together.
    """
    numbers: dict[str, str] = {}
    return [
        None if subject is None else numbers.setdefault(subject, str(len(numbers)))
        for subject in subjects
    ]


def _values_of(column: Sequence[Any], item: int | None) -> Sequence[Any]:
    if item is None:
        return column
    return [value[item] if type(value) is list and item < len(value) else None for value in column]


def _numbers_of(compared: ComparedVersion, labels: Sequence[object]) -> FloatArray:
    """Labels as class indexes, or as values; NaN where there is none."""
    task = compared.task
    if task is None:
        message = (
            f"Model {compared.version} has several outputs: labels cannot be compared with them"
        )
        raise ReferenceRefused(message)
    numbers = np.full(len(labels), np.nan)
    indexes = {label_text(label): index for index, label in enumerate(task.classes)}
    spellings = {
        spelling: indexes[label_text(label)]
        for spelling, label in labels_by_spelling(task.classes).items()
    }
    for place, label in enumerate(labels):
        if label is None:
            continue
        number = spellings.get(label_text(label)) if task.is_classification else _value(label)
        if number is None:
            expected = "one of the version's classes" if task.is_classification else "a number"
            raise ReferenceRefused(f"row {place + 1}: the label {label!r:.60} is not {expected}")
        numbers[place] = number
    return numbers


def _value(label: object) -> float | None:
    """A label as a number; that of CSV is a text. None if it is none."""
    if isinstance(label, str):
        try:
            label = float(label)
        except ValueError:
            return None
    if isinstance(label, bool) or not isinstance(label, int | float):
        return None
    return float(label) if math.isfinite(label) else None
