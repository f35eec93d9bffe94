"""Rows of Parquet, CSV and NDJSON files, by a version's features."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from predictions.evaluation.references.errors import ReferenceRefused
from predictions.evaluation.references.files.reading import format_of, read_file
from registry.signatures.signature import Signature

SIGNATURE = Signature.from_json(
    {
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [-1], "nullable": True},
            {"name": "plan", "datatype": "BYTES", "shape": [-1], "nullable": True},
            {"name": "member", "datatype": "BOOL", "shape": [-1]},
            {"name": "place", "datatype": "FP32", "shape": [-1, 2]},
        ]
    }
)
ROW = {"age": 40.5, "plan": "gold", "member": True, "place": [1.0, 2.0]}
MISSING = {"age": None, "plan": None, "member": False, "place": [3.0, 4.0]}


def inputs(path: Path, **options: Any) -> list[Any]:
    return [row.input_data for row in read_file(path, format_of(path.name), SIGNATURE, **options)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_csv_is_read_by_the_types_of_features(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "rows.csv",
        "id,age,plan,member,place[0],place[1]\n1,40.5,gold,True,1.0,2.0\n2,,,0,3,4.0\n",
    )

    assert inputs(path) == [ROW, MISSING]


def test_parquet_is_read_with_nan_as_missing(tmp_path: Path) -> None:
    columns = {
        "input.age": pa.array([40.5, float("nan")]),
        "input.plan": pa.array(["gold", None]).dictionary_encode(),
        "input.member": [True, False],
        "input.place": [[1.0, 2.0], [3.0, 4.0]],
        "made_at": pa.array([1, 2], pa.timestamp("s")),
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")

    assert inputs(tmp_path / "rows.parquet") == [ROW, MISSING]


def test_nan_in_a_list_of_parquet_is_missing_as_well(tmp_path: Path) -> None:
    columns = {
        "age": [40.5, 40.5],
        "plan": ["gold", "gold"],
        "member": [True, True],
        "place": [[1.0, 2.0], [float("nan"), None]],
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")

    assert inputs(tmp_path / "rows.parquet") == [ROW, {**ROW, "place": [None, None]}]


def test_a_column_that_parquet_has_twice_is_refused(tmp_path: Path) -> None:
    columns = {"age": [1.0], "plan": ["a"], "member": [True], "place": [[1.0, 2.0]]}
    table = pa.table(columns).append_column("age", pa.array([2.0]))
    parquet.write_table(table, tmp_path / "rows.parquet")

    with pytest.raises(ReferenceRefused, match="more than one column 'age'"):
        inputs(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    "row",
    [
        {**ROW, "label": "yes", "other": 1},
        {"input_data": ROW, "label": "yes", "prediction": 1},
        {"input.age": 40.5, "input.plan": "gold", "input.member": True, "input.place": [1.0, 2.0]},
    ],
)
def test_ndjson_is_read_as_rows_of_columns_or_of_the_log(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    path = write(tmp_path, "rows.ndjson", f"{json.dumps(row)}\n\n")

    [found] = read_file(path, "ndjson", SIGNATURE, "label")

    assert found.input_data == ROW
    assert found.label == row.get("label")


def test_labels_are_read_from_their_column(tmp_path: Path) -> None:
    header, cells = "age,plan,member,place[0],place[1],truth", "1,a,1,1,1"
    path = write(tmp_path, "rows.csv", f"{header}\n{cells},yes\n{cells},\n")

    rows = list(read_file(path, "csv", SIGNATURE, "truth"))

    assert [row.label for row in rows] == ["yes", None]


CSV = "age,plan,member,place[0],place[1]\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", "age,plan\n1,a\n", "The file has no column 'member', 'place'"),
        ("rows.csv", CSV + "old,a,1,1,1\n", "line 2, column 'age': 'old' is not a number"),
        ("rows.csv", CSV + "inf,a,1,1,1\n", "line 2, column 'age': 'inf' is not finite"),
        ("rows.csv", CSV + "1,a,yes,1,1\n", "line 2, column 'member': 'yes' is not true or false"),
        ("rows.csv", CSV + "1,a,1,1\n", "line 2 has 4 cells; the header has 5"),
        ("rows.ndjson", "[1]\n", "line 1 must be an object"),
        ("rows.ndjson", '{"age": NaN}\n', "line 1 is not valid JSON"),
        ("rows.ndjson", '{"age": 1}\n', "line 1: it has no column 'plan', 'member', 'place'"),
        ("rows.parquet", "no", "The file is not Parquet"),
        ("rows.xlsx", "", "The name of the file must end with"),
    ],
)
def test_errors_name_the_row_and_the_column(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(ReferenceRefused) as error:
        inputs(write(tmp_path, name, text))

    assert message in str(error.value)


def test_a_missing_label_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", CSV)

    with pytest.raises(ReferenceRefused, match="The file has no column 'truth'"):
        inputs(path, label_column="truth")


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    columns = {
        "age": pa.array([1], pa.timestamp("ms")),
        "plan": ["a"],
        "member": [True],
        "place": [[1.0, 2.0]],
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")

    with pytest.raises(ReferenceRefused, match=r"Column 'age' has type timestamp\[ms\]"):
        inputs(tmp_path / "rows.parquet")


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(CSV.encode() + b"1,\xff,1,1,1\n")

    with pytest.raises(ReferenceRefused, match="not valid UTF-8"):
        inputs(tmp_path / "rows.csv")
