"""What a promotion can require, each part on its own; `gate.py` has the list of them."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from registry.signatures.validation import join_messages

Errors: TypeAlias = dict[str, list[str]]
"""Messages by path, such as `require.replay`."""


class InvalidRequirement(ValueError):
    """The requirement of a promotion is malformed; `errors` maps paths to messages."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = dict(errors)
        super().__init__(
            join_messages(f"{path}: {messages[0]}" for path, messages in self.errors.items())
        )


class PromotionRefused(Exception):
    """A requirement is not met; `extensions` has the figures that say so."""

    def __init__(self, message: str, figures: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.extensions = {"figures": dict(figures)} if figures else {}


class Check(Protocol):
    """A requirement whose fields have been read."""

    def __call__(self, from_version_id: int | None, to_version_id: int) -> None:
        """Raise PromotionRefused unless the requirement is met.

        `from_version_id` is the version that the alias has now; None if it has none.
        """


class Requirement(Protocol):
    """A kind of requirement: some fields of the `require` object that belong together."""

    @property
    def fields(self) -> tuple[str, ...]: ...

    def read(self, require: Mapping[str, object], errors: Errors) -> Check:
        """The check of the fields in `require`, which has at least one of them.

        Mistakes are added to `errors`, and the check is not used then.
        """
