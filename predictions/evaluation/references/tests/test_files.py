"""What a reference is made of besides features: the metadata of the rows of a file."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.references import scoring
from predictions.evaluation.references.errors import ReferenceRefused, ReferenceTooLarge
from predictions.evaluation.references.tests.test_api import iris_rows
from predictions.input_files.reading import format_of
from predictions.testing.counting import monitor
from registry.models import ModelVersion

SEGMENT = "metadata:region=EU"


@pytest.fixture
def segmented(iris: ModelVersion) -> ModelVersion:
    """Its model has a monitor with a segment by metadata."""
    monitor(iris, [{"metadata": "region", "values": ["EU"]}])
    return iris


def write(folder: Path, name: str, metadata: list[str | None] | None) -> Path:
    """60 rows, with these metadata by turns."""
    (folder / "plain.csv").write_text(iris_rows())
    table = csv.read_csv(folder / "plain.csv")
    if metadata is not None:
        texts = [metadata[row % len(metadata)] for row in range(len(table))]
        table = table.append_column("metadata", pa.array(texts, pa.string()))
    path = folder / name
    if name.endswith(".parquet"):
        parquet.write_table(table, path)
    elif name.endswith(".csv"):
        csv.write_csv(table, path)
    else:
        rows = table.to_pylist()
        for row in rows:
            row["metadata"] = json.loads(row["metadata"]) if row.get("metadata") else None
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


def profile_of(version: ModelVersion, path: Path) -> Profile:
    reference = scoring.set_from_file(version, path, format_of(path.name))
    return Profile.from_json(reference.profile)


@pytest.mark.parametrize("name", ["rows.csv", "rows.ndjson", "rows.parquet"])
def test_rows_are_segmented_by_their_metadata(
    segmented: ModelVersion, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, name, ['{"region": "EU"}', '{"region": "US"}', None])

    assert profile_of(segmented, path).small_segments[SEGMENT] == 20


def test_a_file_may_have_no_metadata(segmented: ModelVersion, tmp_path: Path) -> None:
    profile = profile_of(segmented, write(tmp_path, "rows.csv", None))

    assert profile.small_segments[SEGMENT] == 0


@pytest.mark.parametrize("value", ["EU", "[1]", "3"])
def test_metadata_that_are_no_object_are_refused(
    segmented: ModelVersion, tmp_path: Path, value: str
) -> None:
    path = write(tmp_path, "rows.parquet", [None, value])

    with pytest.raises(ReferenceRefused, match="row 2: column 'metadata': "):
        profile_of(segmented, path)


def test_metadata_that_no_monitor_needs_are_not_read(iris: ModelVersion, tmp_path: Path) -> None:
    assert profile_of(iris, write(tmp_path, "rows.csv", ["no object"])).rows == 60


def test_what_a_file_takes_in_memory_is_bounded(iris: ModelVersion, tmp_path: Path) -> None:
    path = write(tmp_path, "rows.parquet", None)

    with pytest.raises(ReferenceTooLarge, match="limit of a request: send fewer rows, or use"):
        scoring.set_from_file(iris, path, "parquet", max_bytes=100)
