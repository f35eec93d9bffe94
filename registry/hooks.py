"""What the app above the registry adds to it.

The registry does not import that app. Instead, the app calls `register` once, in its
AppConfig.ready(). Without an extension the registry works on its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

from registry.models import Alias, ModelVersion

Row = TypeVar("Row")


class PromotionGate(Protocol):
    """Decides whether a version may take over an alias, by the caller's `require` object.

    Called outside of any transaction. Raises any exception to refuse the promotion.
    """

    def __call__(
        self, from_version_id: int, to_version_id: int, require: Mapping[str, object]
    ) -> None: ...


class SetReference(Protocol):
    """Sets the reference of a version from a file of rows; returns what was done, as a sentence.

    `label_column` is the column with the true classes or values, if there is one. Raises ValueError
    or OSError, with a message for the caller.
    """

    def __call__(self, version: ModelVersion, path: Path, label_column: str | None) -> str: ...


@dataclass(frozen=True, slots=True)
class AdminLink(Generic[Row]):
    """A link on the admin pages of a version or of an alias."""

    label: str
    url: Callable[[Row], str]


Links: TypeAlias = Sequence[AdminLink[Row]]


@dataclass(frozen=True, slots=True)
class Extension:
    """Everything that the app above can add."""

    promotion_gate: PromotionGate | None = None
    set_reference: SetReference | None = None
    version_links: Links[ModelVersion] = ()
    alias_links: Links[Alias] = ()


_extension = Extension()


def register(extension: Extension) -> None:
    """Make this the registry's extension, in place of an earlier one."""
    global _extension
    _extension = extension


def extension() -> Extension:
    return _extension
