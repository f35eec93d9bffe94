"""Artifacts in a real server of S3."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.errors import StorageUnavailable
from registry.object_storage.client import obstore
from registry.storage.stores import bucket as bucket_module
from registry.storage.stores.base import ArtifactDamaged, Content, new_key
from registry.storage.stores.bucket import Bucket
from registry.storage.stores.cache import FileCache
from registry.testing.folders import files_below
from registry.testing.object_storage.server import S3Server

pytestmark = pytest.mark.slow

DATA = b"a model" * 100
CONTENT = Content(hashlib.sha256(DATA).hexdigest(), len(DATA))
KEY = new_key(CONTENT.sha256, ".onnx")


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", 0)


@pytest.fixture
def store(bucket: str, cache: FileCache) -> Bucket:
    return Bucket(bucket, cache)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def overwrite(store: Bucket, data: bytes) -> None:
    obstore.put(store._client(bucket_module.ASKING), KEY, data)


def read(store: Bucket) -> bytes:
    with store.open(KEY, CONTENT) as path:
        return path.read_bytes()


def test_an_object_is_put_listed_read_and_deleted(store: Bucket, file: Path) -> None:
    store.put(file, KEY, CONTENT)

    assert [entry.key for entry in store.entries()] == [KEY]
    assert store.size(KEY) == len(DATA)
    assert not store.is_cached(KEY, CONTENT)
    assert read(store) == DATA
    assert store.is_cached(KEY, CONTENT)
    store.delete(KEY)
    store.delete(KEY)
    assert store.size(KEY) is None
    assert list(store.entries()) == []


def test_of_many_puts_at_once_one_creates_the_object(
    store: Bucket, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = []
    create = store._create

    def count(*args: Any) -> bool:
        created.append(create(*args))
        return created[-1]

    with monkeypatch.context() as patched, ThreadPoolExecutor(16) as pool:
        # All of them find no object, as if they had asked at the same time.
        patched.setattr(store, "size", lambda key: None)
        patched.setattr(store, "_create", count)
        patched.setattr(store, "_holds", lambda *args: True)
        list(pool.map(lambda _: store.put(file, KEY, CONTENT), range(16)))

    assert sorted(created) == [False] * 15 + [True]
    assert read(store) == DATA


def test_a_large_file_is_sent_and_fetched_in_parts(
    bucket: str, cache: FileCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "MULTIPART_BYTES", bucket_module.PART_BYTES)
    data = bytes(range(256)) * (bucket_module.MULTIPART_BYTES // 256 + 1)
    path = tmp_path / "large"
    path.write_bytes(data)
    content = Content(hashlib.sha256(data).hexdigest(), len(data))
    key = new_key(content.sha256, ".onnx")
    store = Bucket(bucket, cache)

    store.put(path, key, content)
    store.put(path, key, content)

    with store.open(key, content) as fetched:
        assert fetched.stat().st_size == len(data)


@pytest.mark.parametrize("damage", [b"x" * len(DATA), b"short", DATA + b"longer"])
def test_a_damaged_object_is_refused_until_it_is_put_again(
    store: Bucket, file: Path, cache: FileCache, damage: bytes
) -> None:
    overwrite(store, damage)

    with pytest.raises(ArtifactDamaged, match="has changed in the object storage"):
        read(store)
    assert files_below(cache.folder) == []

    store.put(file, KEY, CONTENT)
    assert read(store) == DATA


def test_a_damaged_cached_file_is_fetched_again(
    store: Bucket, file: Path, cache: FileCache
) -> None:
    store.put(file, KEY, CONTENT)
    read(store)
    (cache.folder / Path(KEY).name).write_bytes(b"x" * len(DATA))

    assert read(store) == DATA


def test_a_missing_object_is_not_found(store: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        read(store)


def test_a_missing_bucket_is_noticed(store: Bucket, cache: FileCache) -> None:
    store.check()

    with pytest.raises(StorageUnavailable):
        Bucket("s3://no-such-bucket/prefix", cache).check()


def test_a_storage_that_hangs_is_given_up(
    s3: S3Server, store: Bucket, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASKING", "PROBING"):
        patience = replace(getattr(bucket_module, name), request_seconds=1)
        monkeypatch.setattr(bucket_module, name, patience)
    calls: list[Callable[[], object]] = [
        store.check,
        lambda: store.size(KEY),
        lambda: store.put(file, KEY, CONTENT),
        lambda: read(store),
    ]
    with s3.hanging():
        for call in calls:
            began_at = time.monotonic()
            with pytest.raises(StorageUnavailable):
                call()
            assert time.monotonic() - began_at < 20

    store.put(file, KEY, CONTENT)
    assert read(store) == DATA


def test_a_fetched_copy_does_not_go_through_the_cache(
    store: Bucket, file: Path, cache: FileCache, tmp_path: Path
) -> None:
    store.put(file, KEY, CONTENT)

    with store.fetch(KEY, CONTENT, tmp_path / "staging") as path:
        assert path.read_bytes() == DATA

    assert files_below(tmp_path / "staging") == []
    assert not cache.folder.exists()
