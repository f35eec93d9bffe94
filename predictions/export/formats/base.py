"""What the formats of files of rows have in common. No Django here."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Chunk(Protocol):
    """Some rows by column, in the order of the file's columns, all of the same length."""

    @property
    def columns(self) -> Sequence[Sequence[Any]]: ...

    def __len__(self) -> int: ...


class Sink(Protocol):
    """What a writer needs of its file."""

    def write(self, content: bytes, /) -> object: ...

    def writelines(self, lines: Iterable[bytes], /) -> object: ...


class Writer(Protocol):
    """Writes chunks into a sink. The same rows give the same bytes."""

    def write(self, chunk: Chunk) -> None: ...

    def close(self) -> None:
        """Write what is left; the file itself stays open."""
