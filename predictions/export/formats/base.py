"""What the formats of an export have in common."""

from collections.abc import Callable, Sequence
from typing import IO, Protocol, TypeAlias

from predictions.export.columns import Column
from predictions.export.reading import Chunk


class Writer(Protocol):
    """Writes chunks into a file that need only be writable. The same rows give the same bytes."""

    def write(self, chunk: Chunk) -> None: ...

    def close(self) -> None:
        """Write what is left; the file itself stays open."""


OpenWriter: TypeAlias = Callable[[IO[bytes], Sequence[Column]], Writer]
