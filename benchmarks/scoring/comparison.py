"""`python -m benchmarks scoring`: how fast is a table scored, and what does a kill change?

Scores one table with one and two workers on both engines, kills a worker and the driver of each
(of Dask, the driver has the scheduler), and compares the digests of all results. Then it scores a
table of a quarter of the rows, whose workers should need as much memory.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.harness.environments import CurrentEnvironment
from benchmarks.harness.service import Installation
from benchmarks.options import add_integer, add_json
from benchmarks.report import Target, format_figure
from benchmarks.scoring.runs import N_FEATURES, Run, Scoring

ENGINES = ("local", "dask")
MIN_RATIO = 1.7
# Of the memory for all rows to that for a quarter of them.
MAX_MEMORY_RATIO = 1.15
# Smaller tables take about as long to start as to score.
MIN_JUDGED_ROWS = 2_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_integer(parser, "--rows", 5_000_000, "rows of the table")
    add_integer(parser, "--part-rows", 200_000, "rows of a part")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    with TemporaryDirectory() as name:
        folder = Path(name)
        installation = Installation(
            f"sqlite:///{folder}/benchmark.sqlite3",
            folder / "installation",
            interpreter=CurrentEnvironment(),
        )
        scoring = _prepare(installation, folder, "all", options.rows, options.part_rows)
        runs = {}
        for engine in options.engines:
            for workers in (1, 2):
                key = f"{engine}, {workers} worker{'s' * (workers > 1)}"
                runs[key] = scoring.run(f"{engine}-{workers}", engine, workers)
            for victim in ("worker", "driver"):
                key = f"{engine}, {victim} killed"
                runs[key] = scoring.run_killed(f"{engine}-{victim}", engine, victim)
        part = _prepare(installation, folder, "part", options.rows // 4, options.part_rows)
        runs["local, 1 worker, a quarter of the rows"] = part.run("quarter", "local", 1)
    return _report(options, runs)


def _prepare(
    installation: Installation, folder: Path, name: str, rows: int, part_rows: int
) -> Scoring:
    place = folder / name
    place.mkdir()
    arguments = [str(place), str(rows)]
    installation.interpreter.build()
    subprocess.run(  # noqa: S603
        [installation.interpreter.python, "-m", "benchmarks.scoring.tables", *arguments],
        cwd=installation.checkout,
        env=installation.environment,
        check=True,
    )
    if name == "all":
        installation.set_up()
        signature = {"inputs": [{"name": "X", "features": [f"f{i}" for i in range(N_FEATURES)]}]}
        file, declared = str(place / "model.onnx"), json.dumps(signature)
        installation.manage("register_model", file, "--name", "network", "--signature", declared)
    return Scoring(installation, place / "rows.parquet", place, part_rows)


def _report(options: argparse.Namespace, runs: dict[str, Run]) -> int:
    rows = [
        [
            name,
            format_figure(run.seconds),
            format_figure(run.rows / run.scoring_seconds),
            format_figure(run.peak_memory_mib),
            run.sha256[:12],
        ]
        for name, run in runs.items()
    ]
    print(report.table(["run", "seconds", "rows/s scored", "peak MiB of a worker", "digest"], rows))
    quarter = runs["local, 1 worker, a quarter of the rows"]
    whole = [run for run in runs.values() if run is not quarter]
    targets = [
        Target("different digests", 1, "at most", len({run.sha256 for run in whole})),
        Target("fewest rows", options.rows, "at least", min(run.rows for run in whole)),
    ]
    if options.rows >= MIN_JUDGED_ROWS and "local" in options.engines:
        one, two = runs["local, 1 worker"], runs["local, 2 workers"]
        memory = one.peak_memory_mib / quarter.peak_memory_mib
        targets += [
            Target(
                "two workers to one",
                MIN_RATIO,
                "at least",
                one.scoring_seconds / two.scoring_seconds,
            ),
            Target("memory to that of a quarter", MAX_MEMORY_RATIO, "at most", memory),
        ]
    print(report.targets_table(targets))
    figures = {
        "runs": {name: asdict(run) for name, run in runs.items()},
        "targets": [target.as_json() for target in targets],
    }
    report.write_json(options.json, figures)
    missed = any(not target.is_met for target in targets)
    print("A target was missed." if missed else "All targets are met.", file=sys.stderr)
    return int(missed)
