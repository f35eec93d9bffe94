"""The tables of `python -m benchmarks commits`: medians of the runs, and of the ratios of pairs."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks import report
from benchmarks.harness.load import Figures
from benchmarks.report import Target, format_figure, median, ratio

KINDS = {"predict": "POST /api/v1/predictions/", "batch": "POST .../batch/", "v2": "/v2 infer"}
BARE = "bare Django view"
MIN_RATIO = 0.97
MIN_RATIO_MONITORED = 0.98


@dataclass(frozen=True, slots=True)
class Run:
    """One run, and the processor time that the server used for each response."""

    figures: Figures
    cpu_us: float

    def as_json(self) -> dict[str, object]:
        return {**self.figures.as_json(), "cpu_us": self.cpu_us}


# The runs by side (`old`, `new` or BARE) and kind of request. Those of both commits are pairs: the
# first of OLD belongs to the first of NEW.
Runs = dict[tuple[str, str], list[Run]]


def print_summary(runs: Runs, names: Mapping[str, str], options: argparse.Namespace) -> int:
    """Print the tables and write the raw figures; returns the exit code."""
    print(
        f"\nOld: {names['old']}, new: {names['new']}. {options.rows} rows per batch. Medians of"
        f" {options.rounds} pairs of runs of {options.seconds} s, c={options.connections},"
        f" {options.workers} workers.\n"
    )
    print(_commits_table(runs))
    print(f"\n{_bare_table(runs)}")
    targets = total_targets(runs) if options.monitored else rate_targets(runs)
    print(f"\n{report.targets_table(targets)}")
    raw = {
        "commits": dict(names),
        "runs": {
            f"{side}, {kind}": [single.as_json() for single in rounds]
            for (side, kind), rounds in runs.items()
        },
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, raw)
    return int(not all(target.is_met for target in targets))


def rate_targets(runs: Runs) -> list[Target]:
    """The new commit must not be slower than the old one, apart from noise."""
    return [
        Target(f"{label}: requests/s, new/old", MIN_RATIO, "at least", rate_ratio(runs, kind))
        for kind, label in KINDS.items()
    ]


def total_targets(runs: Runs) -> list[Target]:
    """Of all runs together, monitoring must not cost more than two requests in a hundred."""
    totals = {
        side: sum(run.figures.per_second for kind in KINDS for run in runs[side, kind])
        for side in ("old", "new")
    }
    name = "requests/s of all runs, new/old"
    return [Target(name, MIN_RATIO_MONITORED, "at least", ratio(totals["new"], totals["old"]))]


def rate_ratio(runs: Runs, kind: str) -> float | None:
    """The median of the pairs' ratios new/old of requests a second."""
    pairs = zip(runs["old", kind], runs["new", kind], strict=True)
    return median(new.figures.per_second / old.figures.per_second for old, new in pairs)


def cpu_ratio(runs: Runs, kind: str) -> float | None:
    """The median of the pairs' ratios new/old of processor time for each request."""
    pairs = zip(runs["old", kind], runs["new", kind], strict=True)
    return median(new.cpu_us / old.cpu_us for old, new in pairs if old.cpu_us)


def _commits_table(runs: Runs) -> str:
    rows = []
    for kind, label in KINDS.items():
        rates = [_rate(runs, side, kind) for side in ("old", "new")]
        cpus = [_cpu_us(runs, side, kind) for side in ("old", "new")]
        p99s = [_p99_ms(runs, side, kind) for side in ("old", "new")]
        figures = [
            *(*rates, rate_ratio(runs, kind)),
            *(*cpus, cpu_ratio(runs, kind)),
            *(*p99s, ratio(p99s[1], p99s[0])),
        ]
        rows.append([label, *map(format_figure, figures)])
    names = ("requests/s", "CPU us/request", "p99 ms")
    head = [text for name in names for text in (f"old {name}", f"new {name}", "new/old")]
    return report.table(["request", *head], rows)


def _bare_table(runs: Runs) -> str:
    bare_rate, bare_p99_ms = _rate(runs, BARE, "predict"), _p99_ms(runs, BARE, "predict")
    rows = [[BARE, format_figure(bare_rate), format_figure(bare_p99_ms), ""]]
    for side in ("old", "new"):
        rate, p99_ms = _rate(runs, side, "predict"), _p99_ms(runs, side, "predict")
        figures = [rate, p99_ms, ratio(rate, bare_rate)]
        rows.append([f"{side}, one prediction", *map(format_figure, figures)])
    return report.table(["server", "requests/s", "p99 ms", "share of the bare view"], rows)


def _rate(runs: Runs, side: str, kind: str) -> float | None:
    return median(single.figures.per_second for single in runs[side, kind])


def _cpu_us(runs: Runs, side: str, kind: str) -> float | None:
    return median(single.cpu_us for single in runs[side, kind])


def _p99_ms(runs: Runs, side: str, kind: str) -> float | None:
    return median(single.figures.p99_ms for single in runs[side, kind])
