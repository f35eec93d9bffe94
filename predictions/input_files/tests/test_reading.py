"""Rows of Parquet, CSV and NDJSON files, by a version's features."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from predictions.input_files import parquet as reading
from predictions.input_files import texts
from predictions.input_files.errors import FileRefused
from predictions.input_files.reading import format_of, read_file
from registry.exact_json.values import check_json
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

    with pytest.raises(FileRefused, match="more than one column 'age'"):
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

    [found] = read_file(path, "ndjson", SIGNATURE, ["label"])

    assert found.input_data == ROW
    assert found.others == (row.get("label"),)


def test_labels_are_read_from_their_column(tmp_path: Path) -> None:
    header, cells = "age,plan,member,place[0],place[1],truth", "1,a,1,1,1"
    path = write(tmp_path, "rows.csv", f"{header}\n{cells},yes\n{cells},\n")

    rows = list(read_file(path, "csv", SIGNATURE, ["truth"]))

    assert [row.others for row in rows] == [("yes",), (None,)]


CSV = "age,plan,member,place[0],place[1]\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", "age,plan\n1,a\n", "The file has no column 'member', 'place'"),
        ("rows.csv", CSV + '1,a,1,1,"1\n', "line 2: unexpected end of data"),
        ("rows.csv", CSV.replace("plan", "age"), "The file has no column 'plan'"),
        ("rows.csv", "age," + CSV, "The file has more than one column 'age'"),
        ("rows.parquet", "no", "The file is not Parquet"),
        ("rows.xlsx", "", "The name of the file must end with"),
    ],
)
def test_a_file_that_is_not_of_its_format_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(FileRefused) as error:
        inputs(write(tmp_path, name, text))

    assert message in str(error.value)


def test_a_missing_label_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", CSV)

    with pytest.raises(FileRefused, match="The file has no column 'truth'"):
        inputs(path, others=["truth"])


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    columns = {
        "age": pa.array([1], pa.timestamp("ms")),
        "plan": ["a"],
        "member": [True],
        "place": [[1.0, 2.0]],
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")

    with pytest.raises(FileRefused, match=r"Column 'age' has type timestamp\[ms\]"):
        inputs(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.binary(), pa.struct([("x", pa.int64())]), pa.list_(pa.date32())]
)
def test_lists_of_other_types_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {
        "age": [1],
        "plan": ["a"],
        "member": [True],
        "place": pa.array([[None, None]], pa.list_(kind)),
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")

    with pytest.raises(FileRefused, match="Column 'place' has type list<"):
        inputs(tmp_path / "rows.parquet")


def test_a_text_of_parquet_that_no_request_can_have_is_no_row(tmp_path: Path) -> None:
    columns = {
        "age": [1.0, 40.5],
        "plan": ["a\0", "gold"],
        "member": [True, True],
        "place": [[1.0, 2.0]] * 2,
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")

    bad, after = read_file(tmp_path / "rows.parquet", "parquet", SIGNATURE)

    assert bad.error == "column 'plan': must not contain the character U+0000"
    assert after.input_data == ROW


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_a_text_of_parquet_that_is_not_utf_8_is_refused(
    tmp_path: Path, is_dictionary: bool
) -> None:
    column = pa.array([b"gold", b"a\xff"]).view(pa.string())
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"plan": column}), path, use_dictionary=is_dictionary)

    for max_bytes in (math.inf, 1000):
        with pytest.raises(FileRefused, match=r"cannot be read: .* UTF8"):
            list(reading.read_columns(path, ["plan"], max_bytes))


def test_an_integer_that_no_request_can_have_is_a_float(tmp_path: Path) -> None:
    row = f"{10**30},gold,1,{2**64 - 1},-{10**30}"

    [found] = inputs(write(tmp_path, "rows.csv", f"{CSV}{row}\n"))

    assert repr(found["age"]) == "1e+30"
    assert found["place"] == [2**64 - 1, -1e30]
    check_json(found)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", CSV + "1_000,a,1,1,1\n", "column 'age': '1_000' is not a number"),
        ("rows.csv", CSV + "1,a,1,1,1_0.5\n", "column 'place[1]': '1_0.5' is not a number"),
        ("rows.csv", CSV + "1,a\0,1,1,1\n", "'plan': must not contain the character U+0000"),
        ("rows.csv", CSV + "old,a,1,1,1\n", "column 'age': 'old' is not a number"),
        ("rows.csv", CSV + "inf,a,1,1,1\n", "column 'age': 'inf' is not finite"),
        ("rows.csv", CSV + "1,a,yes,1,1\n", "column 'member': 'yes' is not true or false"),
        ("rows.csv", CSV + "1,a,1,1\n", "it has 4 cells; the header has 5"),
        ("rows.csv", CSV + "1,\udcff,1,1,1\n", "it is not valid UTF-8"),
        ("rows.ndjson", "\n[1]\n", "it must be an object"),
        ("rows.ndjson", '\n{"age": NaN}\n', "it is not valid JSON"),
        ("rows.ndjson", '\n{"age": 1}\n', "it has no column 'plan', 'member', 'place'"),
    ],
)
def test_a_row_that_cannot_be_read_does_not_affect_the_others(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    good = json.dumps(ROW) if name.endswith(".ndjson") else "40.5,gold,1,1,2"
    path = tmp_path / name
    path.write_bytes(f"{text}{good}\n".encode(errors="surrogateescape"))

    bad, after = read_file(path, format_of(name), SIGNATURE)

    assert bad.number == 2
    assert message in bad.error
    assert (after.number, after.input_data, after.error) == (3, ROW, "")


def test_a_line_that_is_too_long_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "MAX_LINE_BYTES", 120)
    path = write(tmp_path, "rows.ndjson", f'{{"a": "{"x" * 500}"}}\n{json.dumps(ROW)}\n')

    bad, after = read_file(path, "ndjson", SIGNATURE)

    assert bad.error == "it is longer than 120 bytes"
    assert after.input_data == ROW


@pytest.mark.parametrize("name", ["rows.csv", "rows.ndjson", "rows.parquet"])
@pytest.mark.parametrize("has_it", [True, False])
def test_an_optional_column_may_be_missing(tmp_path: Path, name: str, has_it: bool) -> None:
    path = tmp_path / name
    regions = ["EU", None]
    if name == "rows.csv":
        header, row = CSV.strip(), "40.5,gold,1,1,2"
        cells = [f"{row},{region or ''}" if has_it else row for region in regions]
        path.write_text("\n".join([f"{header},region" if has_it else header, *cells]))
    elif name == "rows.ndjson":
        rows = [{**ROW, "region": region} if has_it else ROW for region in regions]
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        columns: dict[str, Any] = {key: [value] * 2 for key, value in ROW.items()}
        parquet.write_table(pa.table(columns | ({"region": regions} if has_it else {})), path)

    found = read_file(path, format_of(name), SIGNATURE, ["region"], optional=["region"])

    assert [row.others for row in found] == [("EU" if has_it else None,), (None,)]
