"""The files with which an export says what it is: its plan, a receipt for each part, its manifest.

The plan makes a later run of the same export continue it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from predictions.export.columns import Column, Inputs
from predictions.export.destinations.documents import file_digest, folder_digest
from predictions.export.selection import Key, Positions
from registry.exact_json.values import JSONObject

LAYOUT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an export has: its filter, its form, and the part of the log that it covers."""

    filter: JSONObject
    format: str
    inputs: Inputs
    part_rows: int
    positions: Positions
    columns: Sequence[Column]
    mlapi: str
    started_at: str

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        fields = {name: document[name] for name in cls.__slots__}
        fields["positions"] = Positions.from_json(fields["positions"])
        fields["columns"] = [Column.from_json(column) for column in fields["columns"]]
        return cls(**fields)

    def as_json(self) -> JSONObject:
        return {
            "layout": LAYOUT,
            **{name: getattr(self, name) for name in self.__slots__},
            "positions": self.positions.as_json(),
            "columns": [column.as_json() for column in self.columns],
        }

    def is_same(self, other: "Plan") -> bool:
        """Whether both ask for the same export, whenever they were made."""
        return (
            all(
                getattr(self, name) == getattr(other, name)
                for name in ("filter", "format", "inputs", "part_rows")
            )
            and self.positions.start == other.positions.start
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A published part, and the key of its last row, after which the next part begins."""

    name: str
    rows: int
    size_bytes: int
    sha256: str
    last_at: str | None
    last_id: int | None

    @classmethod
    def of(cls, name: str, path: Path, rows: int, last: Key | None) -> Self:
        return cls(
            name=name,
            rows=rows,
            size_bytes=path.stat().st_size,
            sha256=file_digest(path),
            last_at=last.created_at.astimezone(UTC).isoformat() if last else None,
            last_id=last.pk if last else None,
        )

    @property
    def last(self) -> Key | None:
        if self.last_at is None or self.last_id is None:
            return None
        return Key(datetime.fromisoformat(self.last_at), self.last_id)


def part_name(number: int, format: str) -> str:
    return f"part-{number:05}.{format}"


def manifest_of(plan: Plan, receipts: Sequence[Receipt], finished_at: str) -> JSONObject:
    """The manifest of a complete export.

    Its `sha256` is that of the output of `sha256sum part-*` in the folder, so that exports of the
    same rows in the same form have the same.
    """
    return {
        **plan.as_json(),
        "finished_at": finished_at,
        "rows": sum(receipt.rows for receipt in receipts),
        "size_bytes": sum(receipt.size_bytes for receipt in receipts),
        "sha256": folder_digest((receipt.name, receipt.sha256) for receipt in receipts),
        "parts": [asdict(receipt) for receipt in receipts],
    }
