"""The features of a row, and rows mixed from it and a background. No Django here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from registry.signatures.constraints import value_names
from registry.signatures.signature import Signature

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Feature:
    """One value of a row: `column` is its place in the tensor, None if it is the whole tensor."""

    name: str
    tensor: str
    column: int | None


def features_of(signature: Signature) -> list[Feature]:
    """The features, in the order of a row's `features` list; none if a tensor's values cannot be
    told apart by name, as the pixels of an image.
    """
    features: list[Feature] = []
    for tensor in signature.inputs:
        names = value_names(tensor)
        if not names:
            return []
        is_matrix = len(tensor.row_shape) > 0
        features += [
            Feature(name, tensor.name, place if is_matrix else None)
            for place, name in enumerate(names)
        ]
    return features


def values_of(row: Arrays, features: Sequence[Feature]) -> list[object]:
    """The features' values in a single row, as JSON; a missing one is None."""
    values: list[object] = []
    for feature in features:
        flat = row[feature.tensor].reshape(-1)
        value = flat[feature.column or 0]
        value = value.item() if isinstance(value, np.generic) else value
        values.append(None if isinstance(value, float) and value != value else value)
    return values


@dataclass(frozen=True, slots=True)
class Mixer:
    """Makes rows with some features of one row, and the others of background rows."""

    features: Sequence[Feature]
    row: Mapping[str, npt.NDArray[Any]]
    background: Mapping[str, npt.NDArray[Any]]

    def mix(self, masks: npt.NDArray[np.bool_], places: npt.NDArray[np.intp]) -> Arrays:
        """m rows: the features in `masks` (m, f) are the row's, the others those of the background
        rows at `places` (m,).
        """
        mixed = {name: array[places] for name, array in self.background.items()}
        for index, feature in enumerate(self.features):
            mask, target, source = masks[:, index], mixed[feature.tensor], self.row[feature.tensor]
            if feature.column is None:
                target[mask] = source[0]
            else:
                target.reshape(len(target), -1)[mask, feature.column] = source.reshape(-1)[
                    feature.column
                ]
        return mixed
