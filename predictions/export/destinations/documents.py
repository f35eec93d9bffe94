"""The small files that describe the parts in a destination, of exports and scored tables alike. No
Django here.

The plan is published first. A part counts once its receipt is published. The manifest comes last,
and replaces plan and receipts.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

# Readers of a folder of Parquet leave out names that begin with an underscore.
PLAN = "_plan.json"
MANIFEST = "_manifest.json"


def receipt_name(number: int) -> str:
    return f"_part-{number:05}.receipt.json"


def as_bytes(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(parts: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 of the output of `sha256sum part-*` in a folder with these names and digests."""
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in parts)
    return hashlib.sha256(lines.encode()).hexdigest()
