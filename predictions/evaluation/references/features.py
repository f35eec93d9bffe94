"""Which features of a version are compared, and as what."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from predictions.evaluation.drift.tables import INPUT_PREFIX
from registry.signatures.masking import feature_rules
from registry.signatures.signature import DTYPES, Input, Signature

FeatureKind: TypeAlias = Literal["number", "category", "text"]

# Longer tensors are images, embeddings and the like: their single numbers say nothing.
MAX_TENSOR_WIDTH = 200
# Of one version. More are hardly looked at, and each is counted every hour.
MAX_FEATURES = 500
CHARACTERS, WORDS = "#characters", "#words"


@dataclass(frozen=True, slots=True)
class Feature:
    """One value of each row: that at `place` of a flat row, or item number `item` of the list
    there. `datatype` is that of the signature.
    """

    name: str
    place: int
    item: int | None
    kind: FeatureKind
    datatype: str

    @property
    def key(self) -> str:
        """The key of its variable. A text has two, which begin with it."""
        return f"{INPUT_PREFIX}{self.name}"

    @property
    def keys(self) -> tuple[str, ...]:
        if self.kind == "text":
            return f"{self.key}{CHARACTERS}", f"{self.key}{WORDS}"
        return (self.key,)


def features_of(signature: Signature, texts: Container[str] = ()) -> list[Feature]:
    """The features that can be compared, in the order of the signature.

    Features of text are categories, except those that `texts` names.
    """
    found: list[Feature] = []
    place = 0
    for tensor in signature.inputs:
        rules = feature_rules(tensor)
        datatype = tensor.datatype or "FP64"
        for key in tensor.keys:
            if key not in rules:
                names = _names(tensor, key)
                found += [
                    Feature(name, place, item, _kind(datatype, name in texts), datatype)
                    for item, name in names
                ]
            place += 1
    return found[:MAX_FEATURES]


def left_out(signature: Signature) -> dict[str, str]:
    """The features that are not compared, with the reason."""
    reasons: dict[str, str] = {}
    compared = 0
    for tensor in signature.inputs:
        rules = feature_rules(tensor)
        for key in tensor.keys:
            names = _names(tensor, key)
            if key in rules:
                reasons[key] = "sensitive"
            elif not names:
                reasons[key] = "not one value a row"
            elif compared >= MAX_FEATURES:
                reasons[key] = f"only {MAX_FEATURES} features are compared"
            else:
                compared += len(names)
    return reasons


def is_text(values: Sequence[object], n_categories: int) -> bool:
    """Whether texts are free text, not names of categories: if most of them are not among the
    `n_categories` most frequent.
    """
    counts: dict[str, int] = {}
    for value in values:
        if type(value) is str:
            counts[value] = counts.get(value, 0) + 1
    frequent = sorted(counts.values(), reverse=True)[:n_categories]
    return 2 * sum(frequent) < sum(counts.values())


def _names(tensor: Input, key: str) -> list[tuple[int | None, str]]:
    """The compared values of a key, with their places in its list; none for other shapes."""
    if tensor.features or tensor.is_scalar:
        return [(None, key)]
    if len(tensor.row_shape) == 1 and 0 < tensor.row_shape[0] <= MAX_TENSOR_WIDTH:
        return [(item, f"{key}[{item}]") for item in range(tensor.row_shape[0])]
    return []


def _kind(datatype: str, is_free_text: bool) -> FeatureKind:
    kind = DTYPES[datatype].kind
    if kind == "O":
        return "text" if is_free_text else "category"
    return "category" if kind == "b" else "number"
