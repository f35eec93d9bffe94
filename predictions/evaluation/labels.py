"""Class labels: how their column stores them, and how an outcome may spell them."""

from collections.abc import Mapping, Sequence

import orjson

from registry.signatures.signature import ClassLabel


def label_text(label: object) -> str:
    """A label as its JSON column stores it."""
    return orjson.dumps(label).decode()


def labels_by_spelling(classes: Sequence[ClassLabel]) -> Mapping[str, ClassLabel]:
    """The classes by the `label_text` of every spelling that an outcome may use.

    1 may also be 1.0 or "1", and true may be "true" or "True": CSV has only text, and the keys of
    probabilities are text. No two classes have the same text; the signature makes sure of that.
    """
    exact = {label_text(label): label for label in classes}
    loose: dict[str, ClassLabel] = {}
    for label in classes:
        spellings: list[ClassLabel] = [str(label)]
        if isinstance(label, bool):
            spellings.append(label_text(label))
        elif isinstance(label, int | float) and float(label).is_integer():
            spellings += [int(label), float(label), str(int(label)), str(float(label))]
        for spelling in spellings:
            loose.setdefault(label_text(spelling), label)
    return {**loose, **exact}
