"""Which values of an input are sensitive, as a signature says it. No Django here."""

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

Rule: TypeAlias = Literal["hash", "omit"]
"""How the log has a sensitive value: as a keyed hash, or as null."""

Sensitivity: TypeAlias = tuple[tuple[str, Rule], ...]
"""Rules by feature; the name "" stands for the whole input."""

RULES = ("hash", "omit")
WHOLE = ""


def parse_sensitivity(value: object) -> Sensitivity:
    """Read `"hash"`, `"omit"`, or an object of them by feature; raises ValueError."""
    rules = value if isinstance(value, Mapping) else {WHOLE: value}
    if isinstance(value, Mapping) and WHOLE in value:
        raise ValueError("features have names")
    if not set(rules.values()) <= set(RULES):
        raise ValueError("must be hash, omit, or an object with one of them for each feature")
    return cast(Sensitivity, tuple(rules.items()))


def sensitivity_as_json(sensitivity: Sensitivity) -> dict[str, object]:
    """The member `sensitive` of an input; nothing if nothing of it is sensitive."""
    rules = dict(sensitivity)
    return {"sensitive": rules.get(WHOLE, rules)} if rules else {}


def merge_sensitivity(
    one: Sensitivity, other: Sensitivity, features: tuple[str, ...]
) -> Sensitivity:
    """The rules of both; raises ValueError for a feature that there is not."""
    merged = dict(one) | dict(other)
    if unknown := merged.keys() - {WHOLE, *features}:
        raise ValueError(f"sensitive: there is no feature '{min(unknown)}'")
    return tuple(merged.items())
