"""The cache of files from object storage, shared by processes."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from registry.artifacts.errors import StorageUnavailable
from registry.storage.stores.base import ArtifactDamaged, Content
from registry.storage.stores.cache import FileCache
from registry.testing.folders import files_below

LIMIT_BYTES = 100


def data_of(number: int) -> bytes:
    return f"{number:040d}".encode()


def content_of(data: bytes) -> Content:
    return Content(hashlib.sha256(data).hexdigest(), len(data))


def load(cache: FileCache, number: int) -> bytes:
    data = data_of(number)
    with cache.open(str(number), content_of(data), lambda: [data]) as path:
        return path.read_bytes()


def unreachable() -> list[bytes]:
    raise StorageUnavailable("down")


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", LIMIT_BYTES)


def test_a_file_is_fetched_once(cache: FileCache) -> None:
    assert load(cache, 1) == data_of(1)

    with cache.open("1", content_of(data_of(1)), unreachable) as path:
        assert path.read_bytes() == data_of(1)
    assert files_below(cache.folder) == ["1"]


def test_the_last_used_files_stay(cache: FileCache) -> None:
    for number in (1, 2):
        load(cache, number)
        os.utime(cache.folder / str(number), (number, number))
    load(cache, 1)

    load(cache, 3)

    assert files_below(cache.folder) == ["1", "3"]


def test_a_file_in_use_is_not_evicted(cache: FileCache) -> None:
    with ExitStack() as stack:
        for number in range(5):
            data = data_of(number)
            fetch = partial(iter, [data])
            stack.enter_context(cache.open(str(number), content_of(data), fetch))
        assert len(files_below(cache.folder)) == 5

    load(cache, 5)

    assert len(files_below(cache.folder)) == 2


def test_a_file_larger_than_the_cache_can_be_used(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 10)

    assert load(cache, 1) == data_of(1)
    assert load(cache, 2) == data_of(2)

    assert files_below(cache.folder) == ["2"]


def test_a_cache_without_a_limit_keeps_all(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 0)

    for number in range(10):
        load(cache, number)

    assert len(files_below(cache.folder)) == 10


@pytest.mark.parametrize("damage", [b"x" * 40, b"short"])
def test_a_damaged_file_is_fetched_again(
    cache: FileCache, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    load(cache, 1)
    (cache.folder / "1").write_bytes(damage)

    assert load(cache, 1) == data_of(1)

    assert "damaged" in caplog.text


def test_what_is_fetched_must_have_the_digest(cache: FileCache) -> None:
    with (
        pytest.raises(ArtifactDamaged),
        cache.open("1", content_of(data_of(1)), lambda: [data_of(2)]),
    ):
        pass

    assert files_below(cache.folder) == []


def test_a_file_whose_time_cannot_be_set_is_used(
    cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cache that cannot be written, or that belongs to another user."""
    load(cache, 1)

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)

    with cache.open("1", content_of(data_of(1)), unreachable) as path:
        assert path.read_bytes() == data_of(1)


@pytest.mark.parametrize("obstacle", ["lock", "link", "folder"])
def test_a_cache_that_cannot_be_used_is_unavailable_rather_than_the_file_missing(
    cache: FileCache, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.folder.mkdir()
    if obstacle == "lock":
        (cache.folder / "1.lock").mkdir()
    elif obstacle == "link":
        (cache.folder / "1").symlink_to("elsewhere")
    else:
        # Somebody deletes it again at once.
        cache.folder.rmdir()
        monkeypatch.setattr(Path, "mkdir", lambda *arguments, **options: None)

    with pytest.raises(StorageUnavailable):
        load(cache, 1)


@pytest.mark.parametrize("error", [StorageUnavailable("down"), FileNotFoundError("gone")])
def test_a_fetch_that_fails_leaves_nothing(cache: FileCache, error: OSError) -> None:
    def fetch() -> Iterator[bytes]:
        yield b"0"
        raise error

    with pytest.raises(type(error)), cache.open("1", content_of(data_of(1)), fetch):
        pass

    assert files_below(cache.folder) == []


def test_a_folder_deleted_during_a_fetch_does_not_make_the_object_missing(
    cache: FileCache,
) -> None:
    def fetch() -> list[bytes]:
        shutil.rmtree(cache.folder)
        return [data_of(1)]

    with (
        pytest.raises(StorageUnavailable),
        cache.open("1", content_of(data_of(1)), fetch),
    ):
        pass

    assert load(cache, 1) == data_of(1)


def test_simultaneous_callers_share_one_fetch(cache: FileCache) -> None:
    fetches = []

    def fetch() -> list[bytes]:
        fetches.append(1)
        time.sleep(0.2)
        return [data_of(1)]

    def use(_: int) -> bytes:
        with cache.open("1", content_of(data_of(1)), fetch) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(8))) == {data_of(1)}
    assert fetches == [1]


def test_an_adopted_file_needs_no_fetch(cache: FileCache, tmp_path: Path) -> None:
    data = data_of(1)
    source = tmp_path / "source"
    source.write_bytes(data)

    cache.adopt(source, "1", content_of(data))
    cache.adopt(source, "1", content_of(data))
    source.unlink()

    with cache.open("1", content_of(data), unreachable) as path:
        assert path.read_bytes() == data


# Uses files that do not fit the cache together, and checks what it reads.
EVICTING = """
import random, sys
from pathlib import Path
from registry.storage.stores.cache import FileCache
from registry.storage.stores.tests.test_cache import content_of, data_of

cache, choices = FileCache(Path(sys.argv[1]), 100), random.Random(int(sys.argv[2]))
fetches = 0

def fetch(data):
    global fetches
    fetches += 1
    return [data[:7], data[7:]]

for _ in range(400):
    data = data_of(choices.randrange(6))
    with cache.open(str(int(data)), content_of(data), lambda: fetch(data)) as path:
        assert path.read_bytes() == data
print(fetches)
"""
# Fetches half of a file, and never the rest.
HALF = """
import sys, time
from pathlib import Path
from registry.storage.stores.cache import FileCache
from registry.storage.stores.tests.test_cache import content_of, data_of

def fetch():
    yield data_of(1)[:20]
    print("half", flush=True)
    time.sleep(600)

with FileCache(Path(sys.argv[1]), 100).open("1", content_of(data_of(1)), fetch):
    pass
"""


def python(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_processes_evict_the_files_of_each_other(cache: FileCache) -> None:
    processes = [python(EVICTING, str(cache.folder), str(seed)) for seed in (1, 2)]

    outputs = [process.communicate(timeout=300)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert all(int(output) > 10 for output in outputs)
    load(cache, 9)
    assert len(files_below(cache.folder)) == 2


@pytest.mark.slow
def test_a_process_killed_in_a_fetch_leaves_nothing_in_the_way(cache: FileCache) -> None:
    process = python(HALF, str(cache.folder))
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    # It waits for the other process to fetch the file.
    thread_done = threading.Event()
    loaded: list[bytes] = []

    def wait_for_it() -> None:
        loaded.append(load(cache, 1))
        thread_done.set()

    threading.Thread(target=wait_for_it, daemon=True).start()
    assert not thread_done.wait(0.3)

    process.kill()
    process.communicate()

    assert thread_done.wait(60)
    assert loaded == [data_of(1)]
    assert files_below(cache.folder) == ["1"]
