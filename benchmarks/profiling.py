"""`python -m benchmarks profile`: where the time of a prediction goes, by share.

py-spy samples the worker under load from outside, twice. The first column is the time in which a
thread holds the interpreter lock: it limits the rate. The second is the time of all threads that
handle a request, including waits (for the lock, the database, the batch): it makes up the latency.
Each sample belongs to the innermost frame whose file identifies a part of the work; the standard
library and numpy identify none and count for their caller.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks import report
from benchmarks.harness import environments, load, models, postgresql, service
from benchmarks.harness.processes import memory_bytes
from benchmarks.harness.service import RunningService
from benchmarks.options import add_integer, add_json

DATABASE = "benchmark_profile"
SAMPLES_PER_SECOND = 100
# Until py-spy begins: the load must outlast its sampling.
START_SECONDS = 3
GRACE_SECONDS = 30

# The first pattern that matches a frame's file decides; the more specific ones come first.
PARTS = [
    (
        "database",
        r"/psycopg(_pool|_binary)?/|/django/db/|/mlapi/configuration/postgresql/|/sqlite3/"
        r"|/predictions/serving/recorder\.py",
    ),
    ("token", r"/rest_framework_simplejwt/|/jwt/|/mlapi/auth\.py|/predictions/authentication/"),
    (
        "inference",
        r"/onnxruntime/|/sklearn/|/skops/|/scipy/|/registry/(runtimes|signatures)/"
        r"|/registry/loading/|/predictions/serving/inference\.py",
    ),
    ("JSON", r"/orjson/|/json/|/mlapi/rest/(parsers|renderers)\.py|/registry/exact_json/"),
    ("joining of calls", r"/predictions/serving/batching\.py"),
    (
        "logs and metrics",
        r"/prometheus_client/|/structlog/|/logging/|/metrics\.py|/mlapi/configuration/logs\.py",
    ),
    ("REST framework", r"/rest_framework/|/drf_spectacular/"),
    ("Django and middleware", r"/django/|/corsheaders/|/whitenoise/|/axes/|/mlapi/middleware\.py"),
    ("server", r"/granian/"),
    ("the rest of mlapi", r"/(mlapi|predictions|registry)/[a-z_/]+\.py"),
]
OTHER = "other"
# Entry points of a request: threads without one of these frames are idle.
REQUEST_FRAME = re.compile(r"/mlapi/(middleware\.py|fast_lane/)|handle_request")
COMPILED = [(name, re.compile(pattern)) for name, pattern in PARTS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--seconds", 10, "length of the sampling")
    add_integer(parser, "--connections", 16, "kept-alive connections")
    parser.add_argument("--model", choices=["iris", "wine"], default="iris")
    parser.add_argument("--sqlite", action="store_true", help="record in SQLite instead")
    add_integer(parser, "--top", 15, "functions listed")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    environments.PROFILER.build()
    model = models.load(options.model)
    with postgresql.server() as database:
        database.recreate(DATABASE)
        url = "sqlite" if options.sqlite else database.database_url(DATABASE)
        with service.temporary(url, model) as installation, installation.server() as running:
            model_id = running.model_id(model.name)
            bodies = [json.dumps(service.prediction_request(model_id, row)) for row in model.rows]
            address = f"http://127.0.0.1:{running.port}{service.PREDICTIONS}"
            target = load.Target(address, installation.headers, bodies)
            load.run(target, connections=options.connections, seconds=2)
            unsampled = load.run(target, connections=options.connections, seconds=options.seconds)
            lock_held, cores = _sample(running, target, options, "--gil")
            all_threads, _ = _sample(running, target, options, "--idle")
        database.drop(DATABASE)
    print(f"{unsampled.per_second:,.0f} requests/s without sampling, c={options.connections};")
    print(f"while sampled, the worker used {cores:.2f} of a processor.\n")
    _print_tables(lock_held, _only_requests(all_threads), options)
    return 0


def _sample(
    running: RunningService, target: load.Target, options: argparse.Namespace, option: str
) -> tuple[Counter[str], float]:
    """Samples by folded stack, and the number of processors that the worker used."""
    # The worker is the process with the models; the server's parent process has none.
    worker = max(running.server.members(), key=memory_bytes)
    with tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as name:
        raw = Path(name, "stacks")
        command = [environments.PROFILER.program("py-spy"), "record", "--pid", str(worker), option]
        command += ["--format", "raw", "--full-filenames", "--rate", str(SAMPLES_PER_SECOND)]
        command += ["--duration", str(options.seconds), "--output", str(raw)]
        started, used = time.monotonic(), _processor_seconds(worker)
        sampler = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            load.run(
                target, connections=options.connections, seconds=options.seconds + START_SECONDS
            )
            used = _processor_seconds(worker) - used
            seconds = time.monotonic() - started
            _, output = sampler.communicate(timeout=GRACE_SECONDS)
        finally:
            sampler.kill()
        if sampler.returncode or not raw.is_file():
            raise service.CommandFailed(
                f"py-spy failed (it needs permission to ptrace): {output.strip()}"
            )
        return count_stacks(raw.read_text().splitlines()), used / seconds


def count_stacks(lines: Iterable[str]) -> Counter[str]:
    """Samples by stack, from lines such as `outer (file:1);inner (file:2) 17`."""
    stacks: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        if stack and samples.isdigit():
            stacks[stack] += int(samples)
    return stacks


def part_of(stack: str) -> str:
    """The part of the work that a stack belongs to."""
    for frame in reversed(stack.split(";")):
        for name, pattern in COMPILED:
            if pattern.search(frame):
                return name
    return OTHER


def _only_requests(stacks: Counter[str]) -> Counter[str]:
    """Without idle threads and the server's own event loop."""
    return Counter({stack: n for stack, n in stacks.items() if REQUEST_FRAME.search(stack)})


def _print_tables(
    lock_held: Counter[str], in_requests: Counter[str], options: argparse.Namespace
) -> None:
    """`lock_held`: samples that held the interpreter lock; `in_requests`: those of all requests."""
    expected = SAMPLES_PER_SECOND * options.seconds
    parts: dict[str, list[int]] = {name: [0, 0] for name, _ in PARTS} | {OTHER: [0, 0]}
    functions: Counter[str] = Counter()
    for column, stacks in enumerate((lock_held, in_requests)):
        for stack, samples in stacks.items():
            parts[part_of(stack)][column] += samples
    for stack, samples in lock_held.items():
        functions[_innermost(stack)] += samples
    totals = lock_held.total() or 1, in_requests.total() or 1
    rows = [
        [name, f"{held / totals[0]:.1%}", f"{elapsed / totals[1]:.1%}"]
        for name, (held, elapsed) in sorted(parts.items(), key=lambda item: -item[1][0])
    ]
    print(report.table(["part", "interpreter lock held", "time of requests"], rows))
    print(
        f"\nOf {expected:,} samples requested (py-spy misses some on a busy machine), the lock was"
        f" held in {min(lock_held.total() / expected, 1):.0%};"
        f" on average {in_requests.total() / expected:.1f} threads handled a request.\n"
    )
    rows = [[name, f"{n / totals[0]:.1%}"] for name, n in functions.most_common(options.top)]
    print(report.table(["function", "interpreter lock held"], rows))
    figures = {"parts": parts, "lock held": dict(lock_held), "in requests": dict(in_requests)}
    report.write_json(options.json, figures)


def _innermost(stack: str) -> str:
    """The innermost frame, without its line and the folders above its package."""
    frame = re.sub(r":\d+\)", ")", stack.split(";")[-1])
    return re.sub(r"\((?:.*/site-packages/|.*/lib/python[\d.]+/|.*/(?=\w+/\w+\.py))", "(", frame)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
