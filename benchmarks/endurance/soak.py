"""`python -m benchmarks soak`: what a service holds after minutes of load, and how fast it answers.

Every kind of request is sent at a steady rate. Memory, threads and descriptors of each process and
the latency are compared between the second and the last third of the run: the first third is for
warming up. Growth beyond the bounds makes the exit status 1.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from benchmarks import report
from benchmarks.harness import models, postgresql, records
from benchmarks.harness.environments import CURRENT
from benchmarks.harness.processes import Server, Usage, usage
from benchmarks.harness.service import Installation, RunningService
from benchmarks.options import add_integer, add_json, add_system
from benchmarks.report import Target, format_figure, ratio
from benchmarks.traffic.clients import Event, Subject, Traffic
from benchmarks.traffic.health import percentile
from benchmarks.traffic.ledger import balance

DATABASE = "benchmark_soak"
SAMPLE_SECONDS = 5.0
MIB = 2**20
MAX_GROWTH_BYTES = 8 * MIB
MAX_MORE_THREADS = 4
MAX_MORE_DESCRIPTORS = 8
MAX_LATENCY_RATIO = 1.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one time, in seconds since the start of the load."""

    at: float
    process: str
    usage: Usage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--minutes", 10, "length of the run")
    add_integer(parser, "--rate", 60, "requests a second")
    add_system(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = models.load("iris", CURRENT)
    with postgresql.server() as server, tempfile.TemporaryDirectory(prefix="mlapi-soak-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'db.sqlite3'}"
        if options.database == "postgresql":
            server.recreate(DATABASE)
            url = server.database_url(DATABASE)
        installation = Installation(
            url, folder, checkout=options.checkout.resolve(), interpreter=CURRENT
        )
        installation.set_up()
        installation.register(model.file("onnx"), name=model.name)
        last_id = records.last_id(url)
        with installation.server(workers=options.workers) as running:
            subject = Subject(
                running.port,
                installation.headers,
                running.model_id(model.name),
                model.name,
                model.rows[0],
            )
            began_at = time.monotonic()
            with Traffic(subject, rate=options.rate) as traffic:
                samples = _sample(running, began_at, 60 * options.minutes)
        found = balance(url, last_id, traffic.events)
        if options.database == "postgresql":
            server.drop(DATABASE)
    print(f"{found.acknowledged:,} rows acknowledged, {found.lost} lost, {found.mixed} mixed\n")
    targets = judge(samples, traffic.events, began_at, 60 * options.minutes)
    _print(samples, traffic.events, began_at, targets, options)
    return int(not found.is_right or not all(target.is_met for target in targets))


def _sample(running: RunningService, began_at: float, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    while (at := time.monotonic() - began_at) < seconds:
        for name, pid in _processes(running.server):
            if found := usage(pid):
                samples.append(Sample(at, name, found))
        time.sleep(SAMPLE_SECONDS)
    return samples


def _processes(server: Server) -> list[tuple[str, int]]:
    """The parent, each worker, and others such as the processes that score files."""
    workers = server.workers()
    others = sorted(server.members() - {server.pid, *workers})
    return [
        ("parent", server.pid),
        *((f"worker {number}", pid) for number, pid in enumerate(workers, 1)),
        *((f"other {number}", pid) for number, pid in enumerate(others, 1)),
    ]


def judge(
    samples: Sequence[Sample], events: Sequence[Event], began_at: float, seconds: float
) -> list[Target]:
    """The growth from the second to the last third, against its bounds."""
    second, last = seconds / 3, 2 * seconds / 3
    targets = []
    for process in sorted({sample.process for sample in samples}):
        measures: list[tuple[str, Callable[[Usage], float], float]] = [
            ("memory, MiB more", lambda u: u.memory_bytes / MIB, MAX_GROWTH_BYTES / MIB),
            ("threads more", lambda u: u.threads, MAX_MORE_THREADS),
            ("descriptors more", lambda u: u.descriptors, MAX_MORE_DESCRIPTORS),
        ]
        own = [sample for sample in samples if sample.process == process]
        for name, measure, bound in measures:
            growth = _difference(
                _mean(measure(s.usage) for s in own if second <= s.at < last),
                _mean(measure(s.usage) for s in own if s.at >= last),
            )
            targets.append(Target(f"{process}: {name}", bound, "at most", growth))
    for percent in (50, 99):
        before = latency_ms(events, began_at + second, began_at + last, percent)
        after = latency_ms(events, began_at + last, began_at + seconds, percent)
        name = f"p{percent}, last third against second"
        targets.append(Target(name, MAX_LATENCY_RATIO, "at most", ratio(after, before)))
    failures = sum(not event.has_succeeded for event in events)
    targets.append(Target("requests that did not succeed", 0, "at most", failures))
    return targets


def latency_ms(events: Iterable[Event], begin: float, end: float, percent: float) -> float | None:
    """A percentile of the successful single predictions that were sent between two times."""
    ordered = sorted(
        1000 * event.seconds
        for event in events
        if event.has_succeeded and begin <= event.sent_at < end and len(event.acknowledged) == 1
    )
    return percentile(ordered, percent) if ordered else None


def _print(
    samples: Sequence[Sample],
    events: Sequence[Event],
    began_at: float,
    targets: Sequence[Target],
    options: argparse.Namespace,
) -> None:
    rows = []
    seconds = 60 * options.minutes
    for part in range(10):
        begin, end = part * seconds / 10, (part + 1) * seconds / 10
        workers = [
            sample.usage
            for sample in samples
            if begin <= sample.at < end and sample.process.startswith("worker")
        ]
        figures = [
            _mean(found.memory_bytes / MIB for found in workers),
            _mean(found.threads for found in workers),
            _mean(found.descriptors for found in workers),
            latency_ms(events, began_at + begin, began_at + end, 50),
            latency_ms(events, began_at + begin, began_at + end, 99),
        ]
        rows.append([f"{end / 60:.1f}", *map(format_figure, figures)])
    head = ["until minute", "MiB a worker", "threads", "descriptors", "p50 ms", "p99 ms"]
    print(report.table(head, rows))
    print(f"\n{report.targets_table(targets)}")
    raw = {
        "samples": [asdict(sample) for sample in samples],
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, raw)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None


def _difference(before: float | None, after: float | None) -> float | None:
    """None unless both are known: a process that lives for a while has nothing to compare."""
    return None if before is None or after is None else after - before
