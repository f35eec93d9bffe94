"""What others read from an export in Parquet: DuckDB, pandas and polars."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from django.core.management import call_command
from pyarrow import parquet

from predictions.models import Outcome, Prediction
from predictions.testing.rows import make_version, wait_until_followable

pytestmark = pytest.mark.django_db(transaction=True)

SIGNATURE = {
    "inputs": [
        {"name": "n", "datatype": "INT64", "shape": [-1], "nullable": True},
        {"name": "big", "datatype": "UINT64", "shape": [-1]},
        {"name": "x", "datatype": "FP32", "shape": [-1]},
        {"name": "city", "datatype": "BYTES", "shape": [-1]},
        {"name": "flag", "datatype": "BOOL", "shape": [-1]},
        {"name": "matrix", "datatype": "FP64", "shape": [-1, 2, 2]},
    ]
}
MATRIX = [[1.0, 2.0], [3.0, 5e-324]]
INPUTS: list[dict[str, Any]] = [
    {"n": 2**63 - 1, "big": 2**64 - 1, "x": 0.1, "city": "Köln", "flag": True, "matrix": MATRIX},
    {"n": None, "big": 0, "x": 1e300, "city": "", "flag": False, "matrix": MATRIX},
]
CREATED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def files(transactional_db: None, tmp_path: Path) -> str:
    """A pattern of the files of an export in two parts."""
    version = make_version(SIGNATURE)
    for input_data in INPUTS:
        row = Prediction.objects.create(
            model=version, input_data=input_data, prediction=0.1, created_at=CREATED
        )
        Outcome.objects.create(prediction=row, value=0.3)
    wait_until_followable()
    call_command("export_predictions", str(tmp_path / "out"), "--part-rows=1", stdout=StringIO())
    return str(tmp_path / "out" / "*.parquet")


def read_duckdb(files: str) -> dict[str, list[Any]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql("SELECT * FROM read_parquet(?)", params=[files]).to_arrow_table()
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def read_pandas(files: str) -> dict[str, list[Any]]:
    frame = pd.read_parquet(Path(files).parent, dtype_backend="pyarrow")
    return {str(name): frame[name].tolist() for name in frame.columns}


def read_polars(files: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pl.read_parquet(files).to_dict(as_series=False)
    return columns


@pytest.mark.parametrize("read", [read_duckdb, read_pandas, read_polars])
def test_every_value_is_read_as_it_was_recorded(
    files: str, read: Callable[[str], dict[str, list[Any]]]
) -> None:
    columns = read(files)

    for name, datatype in (("big", int), ("x", float), ("city", str), ("flag", bool)):
        values = columns[f"input.{name}"]
        assert values == [row[name] for row in INPUTS], name
        assert all(isinstance(value, datatype) for value in values), name
    assert columns["input.n"][0] == 2**63 - 1
    assert pd.isna(columns["input.n"][1])
    assert [[list(row) for row in value] for value in columns["input.matrix"]] == [MATRIX] * 2
    assert columns["outcome.value"] == [0.3, 0.3]
    assert columns["model"] == ["m", "m"]
    assert list(columns["created_at"]) == [CREATED] * 2


def test_the_files_are_compressed_by_zstd(files: str) -> None:
    metadata = parquet.ParquetFile(next(Path(files).parent.glob("*.parquet"))).metadata

    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {
        "ZSTD"
    }
