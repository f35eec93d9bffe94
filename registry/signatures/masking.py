"""Masks the sensitive values of inputs before they are recorded. No Django here."""

import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from copy import copy
from typing import Self, TypeAlias

import orjson

from registry.signatures.sensitivity import WHOLE, Rule
from registry.signatures.signature import Input, Signature

HASH_PREFIX = "hmac-sha256:"
MAX_EXACT_FLOAT = 2**53
Mask: TypeAlias = Callable[[object], object]


class Masks:
    """The masks of one signature's sensitive values."""

    def __init__(self, signature: Signature, key: bytes) -> None:
        self._masks: dict[str, Mask] = {}
        self._positions: dict[int, Mask] = {}
        self._n_values = 0
        rules: dict[Rule, Mask] = {"hash": lambda value: keyed_hash(value, key), "omit": _omit}
        for tensor in signature.inputs:
            for name, rule in feature_rules(tensor).items():
                self._masks[name] = rules[rule]
            width = math.prod(tensor.row_shape)
            keys = tensor.features or (tensor.name,) * width
            for position, name in enumerate(keys, start=self._n_values):
                if name in self._masks:
                    self._positions[position] = self._masks[name]
            self._n_values += width

    @classmethod
    def of(cls, signature: Signature, key: bytes) -> Self | None:
        """The masks of a signature; None if none of its values is sensitive."""
        return cls(signature, key) if any(map(feature_rules, signature.inputs)) else None

    def apply(self, row: object) -> object:
        """A copy of a row in which no sensitive value is left.

        Of a row that does not fit the signature, only what certainly is something else is left.
        """
        if not isinstance(row, Mapping):
            return None
        if row.keys() == {"features"} and "features" not in self._masks:
            return {"features": self._masked_list(row["features"])}
        return {
            name: self._masks[name](value) if name in self._masks else value
            for name, value in row.items()
        }

    def _masked_list(self, values: object) -> object:
        if not isinstance(values, list) or len(values) != self._n_values:
            return None
        masked = list(values)
        for position, mask in self._positions.items():
            masked[position] = mask(masked[position])
        return masked


def both(answered: Masks | None, other: Masks | None) -> Masks | None:
    """What either leaves out of a row that fits the signature of `answered`.

    A shadow scores an input that may be sensitive to another version only.
    """
    if answered is None or other is None:
        return answered or other
    joined = copy(answered)
    joined._masks = other._masks | answered._masks
    if other._n_values == answered._n_values:
        joined._positions = other._positions | answered._positions
    return joined


def feature_rules(tensor: Input) -> dict[str, Rule]:
    """The rule of each sensitive feature of an input."""
    rules = dict(tensor.sensitive)
    if (rule := rules.pop(WHOLE, None)) is not None:
        return dict.fromkeys(tensor.keys, rule) | rules
    return rules


def mask_metadata(
    metadata: Mapping[str, object], rules: Mapping[str, str], key: bytes
) -> dict[str, object]:
    """Metadata without the keys to omit, and with hashes for those to hash."""
    return {
        name: keyed_hash(value, key) if name in rules else value
        for name, value in metadata.items()
        if rules.get(name) != "omit"
    }


def keyed_hash(value: object, key: bytes) -> str | None:
    """The HMAC-SHA256 of a JSON value; null stays null. 3 and 3.0 have the same."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_FLOAT:
        value = int(value)
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return HASH_PREFIX + hmac.new(key, text, hashlib.sha256).hexdigest()


def _omit(value: object) -> None:
    return None
