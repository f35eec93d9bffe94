"""Parquet files that are much larger once they are decoded."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from predictions.input_files import parquet as reading
from predictions.input_files.errors import FileRefused, FileTooLarge
from predictions.input_files.pages import MalformedPages, Page, pages

MIB = 2**20
LIMIT = 8 * MIB


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    parquet.write_table(pa.table(columns), path, compression="zstd", **options)
    return path


def read(path: Path, names: list[str], max_bytes: float = LIMIT) -> list[tuple[Any, ...]]:
    return list(reading.read_columns(path, names, max_bytes))


LONG = "x" * MIB
BOMBS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "zeros": ({"x": [0.0] * (2 * MIB)}, {"use_dictionary": False}),
    "one text many times": ({"x": [LONG] * 200}, {}),
    "one text in a list": ({"x": [[LONG] * 200]}, {}),
    "one text after the other": (
        {"x": [LONG] * 200},
        {"use_dictionary": False, "column_encoding": {"x": "DELTA_BYTE_ARRAY"}},
    ),
    "a list of nulls": ({"x": pa.array([[None] * (2 * MIB)], pa.list_(pa.float64()))}, {}),
    "as a dictionary": ({"x": pa.array([LONG] * 200).dictionary_encode()}, {}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_decoded_is_bounded_before_it_is_in_memory(tmp_path: Path, name: str) -> None:
    columns, options = BOMBS[name]
    path = write(tmp_path / "rows.parquet", columns, **options)
    assert path.stat().st_size < MIB
    pool = pa.default_memory_pool()
    before = pool.max_memory()

    with pytest.raises(FileTooLarge, match="bytes when they are decoded"):
        read(path, ["x"])

    # Writing it took more. Batches of texts that repeat each other have up to BATCH_BYTES.
    assert pool.max_memory() <= max(before, reading.BATCH_BYTES * 3)


def test_only_columns_that_are_read_count(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {"x": [1.0, 2.0], "x.y": [LONG] * 2, "z": [LONG] * 2})

    assert read(path, ["x"], MIB * 2.5) == [(1.0,), (2.0,)]


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", None])
def test_texts_are_the_same_in_every_encoding(tmp_path: Path, encoding: str | None) -> None:
    texts = [None if row % 7 == 0 else f"text {row % 1000}" for row in range(12_000)]
    lists = [[text or "", str(row)] for row, text in enumerate(texts)]
    options: dict[str, Any] = {}
    if encoding:
        options = {"use_dictionary": False, "column_encoding": {"x": encoding}}
    path = write(tmp_path / "rows.parquet", {"x": texts, "y": lists}, **options)

    assert read(path, ["x", "y"]) == list(zip(texts, lists, strict=True))


def test_lists_of_texts_that_repeat_each_other_are_refused(tmp_path: Path) -> None:
    options = {
        "use_dictionary": False,
        "column_encoding": {"x.list.element": "DELTA_BYTE_ARRAY"},
    }
    path = write(tmp_path / "rows.parquet", {"x": [["a", "b"]]}, **options)

    with pytest.raises(FileRefused, match="delta encoded"):
        read(path, ["x"])
    assert read(path, ["x"], math.inf) == [(["a", "b"],)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_page_headers_say_what_the_footer_says(tmp_path: Path, version: str) -> None:
    rows = range(50_000)
    columns = {"x": [float(row) for row in rows], "y": [f"t{row % 9}" for row in rows]}
    path = write(
        tmp_path / "rows.parquet", columns, data_page_version=version, data_page_size=20_000
    )
    metadata = parquet.read_metadata(path)

    for index in range(2):
        chunk = metadata.row_group(0).column(index)
        start = min(chunk.dictionary_page_offset, chunk.data_page_offset)
        with path.open("rb") as file:
            found = list(pages(file, start, start + chunk.total_compressed_size))
        size_bytes = sum(page.size_bytes for page in found)
        # The footer counts the headers as well.
        headers = chunk.total_uncompressed_size - size_bytes
        assert len(found) > 2
        assert 0 < headers < 200 * len(found)
        assert sum(page.values for page in found[1:]) == 50_000


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"\x15" * 7, b"\x19\xfc\xff\xff\xff\x0f"])
def test_headers_that_are_none_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "pages"
    path.write_bytes(data)

    with path.open("rb") as file, pytest.raises(MalformedPages):
        list(pages(file, 0, 100))


def test_a_footer_that_places_no_page_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "rows.parquet", {"x": [1.0]})
    chunk = SimpleNamespace(dictionary_page_offset=None, data_page_offset=0)
    column = SimpleNamespace(path="x")
    monkeypatch.setattr(reading, "_chunks", lambda metadata, names: [(column, chunk)])

    with pytest.raises(FileRefused, match="column 'x' has no pages"):
        read(path, ["x"])


def test_a_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pages"
    # Type 0, 100 bytes, 3 of them after compression; a data page header with 7 values.
    path.write_bytes(
        bytes([0x15, 0, 0x15, 200, 1, 0x15, 6, 0x2C, 0x15, 14, 0x15, 0, 0, 0, 1, 2, 3])
    )

    with path.open("rb") as file:
        assert list(pages(file, 0, 17)) == [Page(100, 7, 0)]
