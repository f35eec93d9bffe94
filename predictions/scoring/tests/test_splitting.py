"""Where files are cut: between rows, wherever lines end."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from predictions.input_files.errors import FileRefused
from predictions.scoring import splitting, tables
from predictions.scoring.sources.opening import find_sources
from predictions.scoring.splitting import split
from predictions.scoring.tables import read_task
from predictions.scoring.tests.fakes import write_table
from predictions.scoring.work import Task
from registry.signatures.signature import Signature

SIGNATURE = Signature.from_json(
    {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1], "nullable": True}]}
)
WORDS = ["plain", 'with "quotes"', "two\nlines", "two\r\nlines", "a,b", "", '"', "Straße"]


def tasks_of(path: Path, part_rows: int = 100) -> list[Task]:
    [source] = find_sources([str(path)])
    return split(source, 0, part_rows, lambda size: None)[1]


def rows_of(path: Path) -> list[tuple[int, str | None]]:
    """Number and text of each row, part by part."""
    [source] = find_sources([str(path)])
    return [
        (row.number, row.input_data["text"])
        for task in tasks_of(path)
        for batch in read_task(source, task, SIGNATURE, [])
        for row in batch.rows()
    ]


@pytest.fixture(params=[16, 64, 2**20], ids=["tiny", "small", "large"])
def read_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(splitting, "PART_BYTES", 100)
    monkeypatch.setattr(splitting, "READ_BYTES", request.param)
    size: int = request.param
    return size


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_csv_is_cut_between_rows(tmp_path: Path, quoting: int, read_bytes: int) -> None:
    random = np.random.default_rng(1)
    plain = ["plain"] * 60
    texts = [*plain, *(WORDS[i] for i in random.integers(0, len(WORDS), 200)), *plain]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerow(["id", "text", "two\nlines"])
    writer.writerows([number, text, "x"] for number, text in enumerate(texts))
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + buffer.getvalue().encode())

    rows = rows_of(path)

    assert [text for _, text in rows] == [text or None for text in texts]
    reader = csv.reader(io.StringIO(buffer.getvalue(), newline=""))
    lines = [reader.line_num for _ in reader][1:]
    assert [number for number, _ in rows] == lines
    assert len(tasks_of(path)) > 5 or read_bytes > 1000


def test_ndjson_is_cut_between_lines(tmp_path: Path, read_bytes: int) -> None:
    path = tmp_path / "rows.ndjson"
    lines = [f'{{"text": "{number}"}}' if number % 7 else "" for number in range(200)]
    path.write_text("\n".join(lines))

    assert rows_of(path) == [(n + 1, str(n)) for n in range(200) if n % 7]
    assert len(tasks_of(path)) > 5 or read_bytes > 1000


def test_parquet_is_cut_between_row_groups(tmp_path: Path) -> None:
    texts = [str(number) for number in range(1000)]
    path = write_table(tmp_path / "rows.parquet", {"text": texts}, group_rows=40)

    tasks = tasks_of(path, part_rows=100)

    assert [(task.start, task.stop, task.rows) for task in tasks[:2]] == [(0, 2, 80), (2, 4, 80)]
    assert rows_of(path) == [(number + 1, str(number)) for number in range(1000)]


@pytest.mark.parametrize("name", ["rows.csv", "rows.ndjson"])
def test_a_file_without_rows_has_no_parts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text\n" if name.endswith("csv") else "")

    assert tasks_of(tmp_path / name) == []


def test_a_row_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MAX_LINE_BYTES", 1000)
    (tmp_path / "rows.csv").write_text('text\n"' + "x\n" * 1000)

    with pytest.raises(FileRefused, match="longer than 1000 bytes"):
        tasks_of(tmp_path / "rows.csv")


@pytest.mark.parametrize("is_list", [False, True])
def test_some_rows_of_texts_that_are_views_can_be_taken(tmp_path: Path, is_list: bool) -> None:
    """Writers in Rust choose this type, and pyarrow reads the texts as the file says."""
    kind = pa.list_(pa.string_view()) if is_list else pa.string_view()
    cells = [["a", "b"], None, ["c", "d"]] if is_list else ["a", None, "c"]
    path = write_table(tmp_path / "rows.parquet", {"text": pa.array(cells, kind)})
    shape = [-1, 2] if is_list else [-1]
    tensor = {"name": "text", "datatype": "BYTES", "shape": shape, "nullable": True}
    [source], [task] = find_sources([str(path)]), tasks_of(path)

    [batch] = read_task(source, task, Signature.from_json({"inputs": [tensor]}), [])

    rows = batch.pick(np.array([1, 2])).rows()
    assert [row.input_data["text"] for row in rows] == cells[1:]


@pytest.mark.parametrize("name", ["rows.csv", "quoted.csv"])
def test_a_header_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No more of it is read than the limit."""
    monkeypatch.setattr(tables, "MAX_LINE_BYTES", 1000)
    (tmp_path / name).write_text('"' * name.startswith("quoted") + "text," * 1000)

    with pytest.raises(FileRefused, match="line 1: it is longer than 1000 bytes"):
        tasks_of(tmp_path / name)


def test_lines_after_a_stray_quotation_mark_are_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing the row again for each of its lines took hours for 10 MB."""
    parsed: list[int] = []
    error_in = splitting._error_in

    def counted(text: bytes) -> csv.Error | None:
        parsed.append(len(text))
        return error_in(text)

    monkeypatch.setattr(splitting, "_error_in", counted)
    path = tmp_path / "rows.csv"
    path.write_text('text\n"stray\n' + 'plain\n""\n' * 2000)

    tasks_of(path)

    assert sum(parsed) < 3 * path.stat().st_size


def test_a_row_of_csv_that_breaks_its_rules_is_refused_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('text,n\n"a\nb",1\n"stray,2\n"c",3\n')

    with pytest.raises(FileRefused, match="line 5: ',' expected after"):
        tasks_of(tmp_path / "rows.csv")


@pytest.mark.parametrize("is_list", [False, True])
def test_batches_of_texts_that_repeat_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_list: bool
) -> None:
    """The file has each text once, and a batch of 1,000 rows would be 10 MB."""
    monkeypatch.setattr(tables, "BATCH_BYTES", 500_000)
    value = "x" * 10_000
    cells = [value if row % 3 else None for row in range(1000)]
    name, shape = ("words", [-1, 2]) if is_list else ("text", [-1])
    column = [[cell or "", str(row)] for row, cell in enumerate(cells)] if is_list else cells
    path = write_table(tmp_path / "rows.parquet", {name: column})
    assert path.stat().st_size < 100_000
    tensor = {"name": name, "datatype": "BYTES", "shape": shape, "nullable": True}
    [source], [task] = find_sources([str(path)]), tasks_of(path, 1000)

    batches = list(read_task(source, task, Signature.from_json({"inputs": [tensor]}), []))

    rows = [row for batch in batches for row in batch.rows()]
    assert [row.input_data[name] for row in rows] == column
    assert [row.number for row in rows] == list(range(1, 1001))
    assert 20 < max(map(len, batches)) < 100
