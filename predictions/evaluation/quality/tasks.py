"""What a version predicts, according to its signature: one of its classes, or a number."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.models import ModelVersion
from registry.signatures.signature import ClassLabel, Signature


class NoQuality(Exception):
    """The version has no quality figures; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Task:
    """The classes of a classifier in the order of its class indices; none for a regressor."""

    classes: tuple[ClassLabel, ...] = ()
    has_probabilities: bool = False

    @property
    def is_classification(self) -> bool:
        return bool(self.classes)

    @property
    def name(self) -> str:
        return "classification" if self.is_classification else "regression"


def task_of(version: ModelVersion) -> Task:
    """The task of a version that answers one label or number per row; raises NoQuality."""
    if version.signature is None:
        raise NoQuality(f"Model {version} has no signature yet, so its task is unknown")
    outputs = Signature.from_json(version.signature).outputs
    kinds = [output.kind for output in outputs]
    has_probabilities = bool(kinds) and kinds[-1] == "probabilities"
    if len(kinds) != 1 and kinds != ["label", "probabilities"]:
        raise NoQuality(f"Model {version} has several outputs; quality needs exactly one")
    if kinds[0] != "value":
        return Task(outputs[0].classes, has_probabilities)
    if not outputs[0].is_scalar:
        raise NoQuality(f"Model {version} returns several numbers per row; quality needs one")
    return Task()


def class_index(predicted: float | None, classes: int) -> int | None:
    """A recorded class index as an integer; None if it is not one: imports may hold any number."""
    if predicted is None or not predicted.is_integer() or not 0 <= predicted < classes:
        return None
    return int(predicted)


def class_at(predicted: float | None, classes: Sequence[ClassLabel]) -> ClassLabel | None:
    """The label of a recorded class index; None as for `class_index`."""
    index = class_index(predicted, len(classes))
    return None if index is None else classes[index]
