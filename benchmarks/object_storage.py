"""`python -m benchmarks storage s3://bucket/prefix`: an artifact to object storage and back.

Seconds and memory of putting it, of its first use on a machine, and of each later one, when it is
in the cache. The storage's keys and endpoint come from the environment. Each operation runs in a
process of its own, whose peak memory beyond what it had before is shown. Medians are shown.
"""

import argparse
import hashlib
import multiprocessing
import os
import secrets
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.options import add_integer, add_json
from benchmarks.report import format_figure, median
from registry.storage.stores.base import Content, new_key
from registry.storage.stores.bucket import Bucket
from registry.storage.stores.cache import FileCache

MIB = 2**20
OPERATIONS = ("put", "first use", "use from the cache")
# Seconds and bytes of one operation.
Measured = tuple[float, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="where an object is put and deleted again")
    add_integer(parser, "--mib", 200, "size of the artifact")
    add_integer(parser, "--rounds", 5, "of each kind")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    measured: dict[str, list[Measured]] = {name: [] for name in OPERATIONS}
    with tempfile.TemporaryDirectory(prefix="mlapi-storage-") as name:
        folder = Path(name)
        for _ in range(options.rounds):
            content = _write(folder / "artifact", options.mib)
            cache = folder / secrets.token_hex(4)
            for operation in OPERATIONS:
                arguments = operation, options.url, folder / "artifact", content, cache
                # A new process, since obstore's threads do not survive a fork.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    measured[operation].append(pool.apply(_measure, arguments))
            _store(options.url, cache).delete(_key(content))
    rows = [
        [
            operation,
            format_figure(median(seconds for seconds, _ in values)),
            format_figure(median(size_bytes / MIB for _, size_bytes in values)),
        ]
        for operation, values in measured.items()
    ]
    print(f"Medians of {options.rounds} rounds with an artifact of {options.mib} MiB.\n")
    print(report.table(["", "s", "MiB more"], rows))
    report.write_json(options.json, measured)
    return 0


def _write(path: Path, mib: int) -> Content:
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mib):
            block = os.urandom(MIB)
            sha256.update(block)
            file.write(block)
    return Content(sha256.hexdigest(), mib * MIB)


def _measure(operation: str, url: str, path: Path, content: Content, cache: Path) -> Measured:
    store, key = _store(url, cache), _key(content)
    # The client and its connection belong to the process, not to the operation.
    store.size(key)
    # Forget the peak of before: that of the parent is inherited, too.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    started = time.perf_counter()
    if operation == "put":
        store.put(path, key, content)
    else:
        with store.open(key, content):
            pass
    return time.perf_counter() - started, _peak_bytes() - before


def _store(url: str, cache: Path) -> Bucket:
    return Bucket(url, FileCache(cache, 0))


def _key(content: Content) -> str:
    return new_key(content.sha256, ".bin")


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
