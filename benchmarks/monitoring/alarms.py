"""`python -m benchmarks alarms`: how often rules for drift raise an alarm where nothing drifts.

References of 5,000 rows and windows are drawn from one distribution, with a seed. A report is false
if it has an alarm of any feature. Evidently runs in its own environment, with its default tests;
NannyML's default rule is short enough to be repeated here. The power is the share of reports that
find one of ten features moved by half a standard deviation, for the rule of this project.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks import report
from benchmarks.harness.environments import PROJECT, Environment
from benchmarks.monitoring import rules
from benchmarks.monitoring.draws import SHAPES, Cell, Columns
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target

# Evidently 0.7 cannot be imported with pandas 3.
EVIDENTLY = Environment("evidently", ("evidently==0.7.23", "pandas>=2.3,<3"))
PROGRAM = "benchmarks.monitoring.programs.evidently_alarms"
WINDOWS = (100, 200, 500, 2000)
FEATURES = (10, 50)
MAX_FALSE_ALARMS = 0.01
SHIFT = 0.5
POWER = {100: 0.6, 200: 0.95, 500: 0.99}

Alarms = list[set[int]]
Shares = dict[str, float | None]
Cells = dict[tuple[str, int, int], Shares]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--reports", 400, "reports of a cell")
    add_integer(parser, "--peer-reports", 50, "the same for Evidently, which is slower; 0 for none")
    add_integer(parser, "--seed", 13, "of all draws")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    false_alarms = _false_alarms(options)
    powers = {
        (features, rows): _power(Cell("normal", features, rows, options.reports, SHIFT), options)
        for features in FEATURES
        for rows in POWER
    }
    targets = [
        Target(
            f"false alarms: {shape}, {features} features, {rows} rows",
            MAX_FALSE_ALARMS,
            "at most",
            shares["mlapi"],
        )
        for (shape, features, rows), shares in false_alarms.items()
    ]
    targets += [
        Target(f"power: {features} features, {rows} rows", POWER[rows], "at least", power)
        for (features, rows), power in powers.items()
    ]
    _print(options, false_alarms, powers, targets)
    return 0 if all(target.is_met for target in targets) else 1


def _false_alarms(options: argparse.Namespace) -> Cells:
    """The shares of reports with a false alarm, by rule."""
    cells = [
        Cell(shape, features, rows, options.reports)
        for shape in SHAPES
        for features in FEATURES
        for rows in WINDOWS
    ]
    found: Cells = {}
    for cell in cells:
        shares: Shares = {
            "mlapi": _share(_judged(rules.mlapi, cell, options.seed), bool),
            "NannyML's rule": _share(_judged(rules.nannyml, cell, options.seed), bool),
        }
        found[cell.shape, cell.features, cell.rows] = shares
        print(
            f"{cell.shape}, {cell.features} features, {cell.rows} rows: {shares}", file=sys.stderr
        )
    if options.peer_reports:
        EVIDENTLY.build()
        smaller = [replace(cell, reports=options.peer_reports) for cell in cells]
        for cell, alarms in zip(cells, _evidently(smaller, options.seed), strict=True):
            shares = found[cell.shape, cell.features, cell.rows]
            shares["Evidently: a feature"] = _share(alarms, bool)
            shares["Evidently: dataset drift"] = _share(
                alarms, partial(_is_dataset_drift, cell.features)
            )
    return found


def _is_dataset_drift(features: int, drifted: set[int]) -> bool:
    """Evidently's verdict on the whole data set: at least half of its features."""
    return len(drifted) >= features / 2


def _power(cell: Cell, options: argparse.Namespace) -> float:
    return _share(_judged(rules.mlapi, cell, options.seed), lambda alarms: 0 in alarms)


def _judged(make: Callable[[Columns], rules.Rule], cell: Cell, seed: int) -> Alarms:
    alarms = []
    for reference, windows in cell.draws(seed):
        rule = make(reference)
        alarms += [rule(window) for window in windows]
    return alarms


def _evidently(cells: list[Cell], seed: int) -> list[Alarms]:
    completed = subprocess.run(  # noqa: S603
        [EVIDENTLY.python, "-m", PROGRAM],
        input=json.dumps({"cells": [cell.as_json() for cell in cells], "seed": seed}),
        env=EVIDENTLY.variables(DO_NOT_TRACK="1"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [[set(features) for features in cell] for cell in json.loads(completed.stdout)]


def _share(alarms: Alarms, counts: Callable[[set[int]], bool]) -> float:
    return sum(counts(features) for features in alarms) / len(alarms)


def _print(
    options: argparse.Namespace,
    false_alarms: Cells,
    powers: dict[tuple[int, int], float],
    targets: list[Target],
) -> None:
    names = list(next(iter(false_alarms.values())))
    print(
        f"Share of reports with a false alarm: {options.reports} reports in each cell"
        f" ({options.peer_reports} of Evidently), seed {options.seed}\n"
    )
    rows = [
        [*map(str, cell), *(_percent(shares[name]) for name in names)]
        for cell, shares in false_alarms.items()
    ]
    print(report.table(["data", "features", "rows", *names], rows))
    print(f"\nPower: one feature moved by {SHIFT} standard deviations\n")
    lines = [[str(f), str(n), _percent(power)] for (f, n), power in powers.items()]
    print(report.table(["features", "rows", "found"], lines))
    print("\n" + report.targets_table(targets))
    if options.json:
        cells = [{"cell": list(cell), "shares": shares} for cell, shares in false_alarms.items()]
        power = [{"cell": list(cell), "power": value} for cell, value in powers.items()]
        document = {"false_alarms": cells, "power": power}
        document["targets"] = [target.as_json() for target in targets]
        options.json.write_text(json.dumps(document, indent=2))


def _percent(share: float | None) -> str:
    return report.MISSING if share is None else f"{share * 100:.3g} %"
