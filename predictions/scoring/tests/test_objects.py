"""Input files in a bucket of a real S3 server."""

from collections.abc import Callable
from typing import Any

import pytest

from predictions.scoring.sources import objects
from predictions.scoring.sources.opening import find_sources, open_source, require_unchanged
from predictions.scoring.work import ScoringFailed, ScoringInterrupted, Source
from registry.object_storage.client import PATIENT, connect, obstore

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

Put = Callable[[str, bytes], Any]


@pytest.fixture
def put(bucket: str) -> Put:
    """Writes an object of the bucket."""
    objects._client.cache_clear()
    client: Any = connect(bucket, PATIENT)
    return lambda name, content: obstore.put(client, name, content)


def names(pattern: str) -> list[str]:
    return [source.name for source in find_sources([pattern])]


def find(url: str) -> Source:
    [source] = find_sources([url])
    return source


def test_a_wildcard_does_not_match_a_slash(bucket: str, put: Put) -> None:
    for name in ("b.csv", "a.csv", "a.ndjson", "deep/c.csv", "[1].csv"):
        put(name, b"x")

    assert names(f"{bucket}/*.csv") == [
        f"{bucket}/{name}" for name in ("[1].csv", "a.csv", "b.csv")
    ]
    assert names(f"{bucket}/*/c.csv") == [f"{bucket}/deep/c.csv"]
    assert names(f"{bucket}/a.ndjson") == [f"{bucket}/a.ndjson"]
    with pytest.raises(ScoringFailed, match=r"there is no file s3://.*/d\.csv"):
        names(f"{bucket}/d.csv")


def test_a_bucket_that_does_not_exist_ends_the_run(bucket: str, put: Put) -> None:
    with pytest.raises(ScoringFailed, match=r"s3://nowhere-at-all/.*404"):
        names("s3://nowhere-at-all/*.csv")


def test_an_object_of_another_format_is_refused(bucket: str, put: Put) -> None:
    put("a.xlsx", b"x")

    with pytest.raises(ScoringFailed, match=r"a\.xlsx: The name of the file must end with"):
        names(f"{bucket}/a.*")


def test_an_object_is_read_from_any_position(bucket: str, put: Put) -> None:
    content = bytes(range(256)) * 10_000
    put("a.csv", content)
    source = find(f"{bucket}/a.csv")
    assert source.size_bytes == len(content)
    assert source.identity.startswith("etag:")

    with open_source(source) as file:
        assert file.read(1000) == content[:1000]
        file.seek(-10, 2)
        assert (file.tell(), file.read()) == (len(content) - 10, content[-10:])
        file.seek(1_500_000)
        assert file.read(600_000) == content[1_500_000:2_100_000]
        assert file.read() == content[2_100_000:]
        assert file.read() == b""


def test_an_object_that_is_replaced_is_noticed(bucket: str, put: Put) -> None:
    put("a.csv", b"1" * 3_000_000)
    source = find(f"{bucket}/a.csv")

    with open_source(source) as file:
        file.read(10)
        put("a.csv", b"2" * 3_000_000)
        with pytest.raises(ScoringFailed, match="was changed while it was being scored"):
            file.read()
    with pytest.raises(ScoringFailed, match="was changed while it was being scored"):
        require_unchanged(source)


def test_an_object_that_is_gone_is_reported(bucket: str, put: Put) -> None:
    put("a.csv", b"1")
    source = find(f"{bucket}/a.csv")
    obstore.delete(connect(bucket, PATIENT), "a.csv")

    with pytest.raises(ScoringFailed, match=r"a\.csv is missing"):
        open_source(source)


def test_a_storage_that_cannot_be_reached_interrupts_the_run(
    bucket: str, put: Put, without_storage: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.csv", b"1")
    source = find(f"{bucket}/a.csv")
    without_storage()
    monkeypatch.setattr(objects, "PATIENT", type(PATIENT)(0, 1, 1, 1))
    objects._client.cache_clear()

    with pytest.raises(ScoringInterrupted):
        open_source(source)
    objects._client.cache_clear()
