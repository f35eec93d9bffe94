"""`python -m benchmarks profile`: where the time of a prediction goes, by share.

py-spy samples the one worker under load from outside, twice. The first column is the time in which
a thread holds the interpreter lock: it bounds the rate. The second is the time of all threads that
have a request, waits included (for the lock, the database, the batch): it makes up the latency.
Each sample belongs to the innermost frame whose file tells a part; the standard library and numpy
tell none, and count for who calls them.
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
from typing import Any

from benchmarks import report
from benchmarks.harness import environments, load, models, postgresql, service
from benchmarks.harness.processes import memory_bytes
from benchmarks.harness.service import RunningService

DATABASE = "benchmark_profile"
SAMPLES_PER_SECOND = 100
# What py-spy may take to begin: the load must outlast its sampling.
START_SECONDS = 3
GRACE_SECONDS = 30

# The first that matches a frame's file; more particular ones come first.
PARTS = [
    (
        "database",
        r"/psycopg(_pool|_binary)?/|/django/db/|/mlapi/postgresql/|/sqlite3/|/recorder\.py",
    ),
    ("token", r"/rest_framework_simplejwt/|/jwt/|/mlapi/(auth|tokens?)\.py"),
    (
        "inference",
        r"/onnxruntime/|/sklearn/|/skops/|/scipy/|/registry/(runtimes/|arrangement|signature|loader)"
        r"|/predictions/inference\.py",
    ),
    ("JSON", r"/orjson/|/json/|/mlapi/(parsers|renderers)\.py|/registry/jsonvalues\.py"),
    ("joining of calls", r"/predictions/batching\.py"),
    ("logs and metrics", r"/prometheus_client/|/structlog/|/logging/|/metrics\.py|/mlapi/logs\.py"),
    ("REST framework", r"/rest_framework/|/drf_spectacular/"),
    ("Django and middleware", r"/django/|/corsheaders/|/whitenoise/|/axes/|/mlapi/middleware\.py"),
    ("server", r"/granian/"),
    ("the service's own", r"/(mlapi|predictions|registry)/[a-z_/]+\.py"),
]
COMPILED = [(name, re.compile(pattern)) for name, pattern in PARTS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    whole: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--seconds", default=10, help="length of the sampling (10)", **whole)
    parser.add_argument("--connections", default=16, help="kept connections (16)", **whole)
    parser.add_argument("--model", choices=["iris", "wine"], default="iris")
    parser.add_argument("--sqlite", action="store_true", help="record in SQLite instead")
    parser.add_argument("--top", default=15, help="functions listed (15)", **whole)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures there")


def run(options: argparse.Namespace) -> int:
    load.require_wrk()
    environments.PROFILER.build()
    model = models.load(options.model)
    with postgresql.server() as database:
        database.recreate(DATABASE)
        url = "sqlite" if options.sqlite else database.database_url(DATABASE)
        with service.temporary(url, model) as installed, installed.server() as running:
            model_id = running.model_id(model.name)
            bodies = [json.dumps(service.prediction_request(model_id, row)) for row in model.rows]
            headers = {"Authorization": f"Bearer {installed.token}"}
            address = f"http://127.0.0.1:{running.port}{service.PREDICTIONS}"
            target = load.Target(address, headers, bodies)
            load.run(target, connections=options.connections, seconds=2)
            plain = load.run(target, connections=options.connections, seconds=options.seconds)
            held, cores = _sample(running, target, options, "--gil")
            busy, _ = _sample(running, target, options, "--idle")
        database.drop(DATABASE)
    print(f"{plain.per_second:,.0f} requests/s without the sampling, c={options.connections};")
    print(f"while sampled, the worker used {cores:.2f} of a processor.\n")
    _print_tables(held, _requests_only(busy), options)
    return 0


def _sample(
    running: RunningService, target: load.Target, options: argparse.Namespace, what: str
) -> tuple[Counter[str], float]:
    """Samples by folded stack, and the processors that the worker used meanwhile."""
    # The one with the models; the server's parent process has none.
    worker = max(running.server.members(), key=memory_bytes)
    with tempfile.TemporaryDirectory(prefix="mlapi-benchmark-") as name:
        raw = Path(name, "stacks")
        command = [environments.PROFILER.program("py-spy"), "record", "--pid", str(worker), what]
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
            _, said = sampler.communicate(timeout=GRACE_SECONDS)
        finally:
            sampler.kill()
        if sampler.returncode or not raw.is_file():
            raise service.CommandFailed(f"py-spy: {said.strip()} (it needs the right to ptrace)")
        return folded(raw.read_text().splitlines()), used / seconds


def folded(lines: Iterable[str]) -> Counter[str]:
    """Counts by stack, of lines such as `outer (file:1);inner (file:2) 17`."""
    stacks: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        if stack and samples.isdigit():
            stacks[stack] += int(samples)
    return stacks


def part_of(stack: str) -> str:
    """The part of the work that a stack is busy with."""
    for frame in reversed(stack.split(";")):
        for name, pattern in COMPILED:
            if pattern.search(frame):
                return name
    return "the rest"


def _requests_only(stacks: Counter[str]) -> Counter[str]:
    """Without the threads that have nothing to do, and without the server's own loop."""
    has_request = re.compile(r"/mlapi/middleware\.py|handle_request")
    return Counter({stack: n for stack, n in stacks.items() if has_request.search(stack)})


def _print_tables(held: Counter[str], busy: Counter[str], options: argparse.Namespace) -> None:
    expected = SAMPLES_PER_SECOND * options.seconds
    parts: dict[str, list[int]] = {name: [0, 0] for name, _ in PARTS} | {"the rest": [0, 0]}
    functions: Counter[str] = Counter()
    for column, stacks in enumerate((held, busy)):
        for stack, samples in stacks.items():
            parts[part_of(stack)][column] += samples
    for stack, samples in held.items():
        functions[_innermost(stack)] += samples
    totals = held.total() or 1, busy.total() or 1
    rows = [
        [name, f"{a / totals[0]:.1%}", f"{b / totals[1]:.1%}"]
        for name, (a, b) in sorted(parts.items(), key=lambda item: -item[1][0])
    ]
    print(report.table(["part", "interpreter lock held", "time of a request's thread"], rows))
    print(
        f"\nOf {expected:,} moments asked for (py-spy misses some on a busy machine), the lock was"
        f" held in {min(held.total() / expected, 1):.0%},"
        f" and {busy.total() / expected:.1f} threads had a request.\n"
    )
    rows = [[name, f"{n / totals[0]:.1%}"] for name, n in functions.most_common(options.top)]
    print(report.table(["function", "interpreter lock held"], rows))
    figures = {"parts": parts, "held": dict(held), "busy": dict(busy)}
    report.write_json(options.json, figures)


def _innermost(stack: str) -> str:
    """The last frame without its line and the folders above its package."""
    frame = re.sub(r":\d+\)", ")", stack.split(";")[-1])
    return re.sub(r"\((?:.*/site-packages/|.*/lib/python[\d.]+/|.*/(?=\w+/\w+\.py))", "(", frame)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
