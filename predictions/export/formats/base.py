"""What the formats of an export have in common."""

from collections.abc import Iterable
from typing import Protocol

from predictions.export.reading import Chunk


class Sink(Protocol):
    """What a writer needs of its file."""

    def write(self, content: bytes, /) -> object: ...

    def writelines(self, lines: Iterable[bytes], /) -> object: ...


class Writer(Protocol):
    """Writes chunks into a sink. The same rows give the same bytes."""

    def write(self, chunk: Chunk) -> None: ...

    def close(self) -> None:
        """Write what is left; the file itself stays open."""
