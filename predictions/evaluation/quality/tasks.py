"""What a version's signature asks of its outcomes: the classes of a classifier, or a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from registry.models import ModelVersion
from registry.signatures.signature import ClassLabel, Signature


class NoQuality(Exception):
    """Nothing can be said of the quality of this version; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Task:
    """The classes of a classifier, in the order of its class indices; none for a regressor."""

    classes: tuple[ClassLabel, ...] = ()
    has_probabilities: bool = False

    @property
    def is_classification(self) -> bool:
        return bool(self.classes)

    @property
    def name(self) -> str:
        return "classification" if self.is_classification else "regression"


def task_of(version: ModelVersion) -> Task:
    """The task of a version with one answer a row; raises NoQuality."""
    if version.signature is None:
        raise NoQuality(f"Model {version} has no signature yet, which tells what it answers")
    outputs = Signature.from_json(version.signature).outputs
    kinds = [output.kind for output in outputs]
    has_probabilities = bool(kinds) and kinds[-1] == "probabilities"
    if len(kinds) != 1 and kinds != ["label", "probabilities"]:
        raise NoQuality(f"Model {version} answers several outputs, not one")
    if kinds[0] != "value":
        return Task(outputs[0].classes, has_probabilities)
    if len(outputs[0].shape) > 1:
        raise NoQuality(f"Model {version} answers several numbers a row, not one")
    return Task()


def label_text(label: Any) -> str:
    """A label as its column holds it."""
    return orjson.dumps(label).decode()


def labels_by_form(classes: Sequence[ClassLabel]) -> Mapping[str, ClassLabel]:
    """The classes by all ways to write them, as `label_text` gives them.

    1 may be given as 1.0 or "1", true as "true" or "True": CSV knows text alone, and probabilities
    have text as their keys. No class is another one's text: a signature sees to it.
    """
    exact = {label_text(label): label for label in classes}
    loose: dict[str, ClassLabel] = {}
    for label in classes:
        forms: list[Any] = [str(label)]
        if isinstance(label, bool):
            forms.append(label_text(label))
        elif isinstance(label, int | float) and float(label).is_integer():
            forms += [int(label), float(label), str(int(label)), str(float(label))]
        for form in forms:
            loose.setdefault(label_text(form), label)
    return {**loose, **exact}
