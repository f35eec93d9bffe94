"""The tables of `python -m benchmarks commits`: medians of the rounds and the ratios new/old."""

import argparse
from collections.abc import Mapping

from benchmarks import report
from benchmarks.harness.load import Figures
from benchmarks.report import Target, format_figure, median, ratio

KINDS = {"predict": "POST /api/v1/predictions/", "batch": "POST .../batch/", "v2": "/v2 infer"}
BARE = "bare Django view"
MIN_RATIO = 0.97

# The figures of every round, by side (`old`, `new` or BARE) and kind of request.
Runs = dict[tuple[str, str], list[Figures]]


def print_summary(runs: Runs, names: Mapping[str, str], options: argparse.Namespace) -> int:
    """Print the tables and write the raw figures; returns the exit code."""
    print(
        f"\nOld: {names['old']}, new: {names['new']}. {options.rows} rows per batch. Medians of"
        f" {options.rounds} interleaved rounds of {options.seconds} s, c={options.connections}.\n"
    )
    print(_commits_table(runs))
    print(f"\n{_bare_table(runs)}")
    targets = rate_targets(runs)
    print(f"\n{report.targets_table(targets)}")
    raw = {
        "commits": dict(names),
        "runs": {
            f"{side}, {kind}": [figures.as_json() for figures in rounds]
            for (side, kind), rounds in runs.items()
        },
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, raw)
    return int(not all(target.is_met for target in targets))


def rate_targets(runs: Runs) -> list[Target]:
    """The new commit must not be slower than the old one, apart from noise."""
    return [
        Target(
            f"{label}: requests/s, new/old",
            MIN_RATIO,
            "at least",
            ratio(_rate(runs, "new", kind), _rate(runs, "old", kind)),
        )
        for kind, label in KINDS.items()
    ]


def _commits_table(runs: Runs) -> str:
    rows = []
    for kind, label in KINDS.items():
        rates = [_rate(runs, side, kind) for side in ("old", "new")]
        p99s = [_p99_ms(runs, side, kind) for side in ("old", "new")]
        figures = [*rates, ratio(rates[1], rates[0]), *p99s, ratio(p99s[1], p99s[0])]
        rows.append([label, *map(format_figure, figures)])
    head = ["old requests/s", "new requests/s", "new/old", "old p99 ms", "new p99 ms", "new/old"]
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
    return median(figures.per_second for figures in runs[side, kind])


def _p99_ms(runs: Runs, side: str, kind: str) -> float | None:
    return median(figures.p99_ms for figures in runs[side, kind])
