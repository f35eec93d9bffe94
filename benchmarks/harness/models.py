"""The two models that every server under test serves, trained once with a fixed seed."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.environments import CACHE, MLAPI, PROJECT, Interpreter

TRAINING_TIMEOUT_SECONDS = 300
DESCRIPTIONS = {"iris": "logistic regression on iris", "wine": "random forest of 100 trees on wine"}


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model's files, the rows of its data set, and the class that it predicts for each row."""

    name: str
    description: str
    folder: Path
    rows: tuple[tuple[float, ...], ...]
    classes: tuple[int, ...]

    def file(self, suffix: str) -> Path:
        return self.folder / f"model.{suffix}"


def load(name: str, interpreter: Interpreter = MLAPI) -> TrainedModel:
    """The model `iris` or `wine`, trained on first use."""
    folder = _train_once(interpreter) / name
    content = json.loads((folder / "rows.json").read_text())
    rows = tuple(tuple(row) for row in content["rows"])
    return TrainedModel(name, DESCRIPTIONS[name], folder, rows, tuple(content["classes"]))


def _train_once(interpreter: Interpreter) -> Path:
    """The folder of the trained models; its name changes with the training script."""
    script = PROJECT / "benchmarks" / "harness" / "training.py"
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"models-{digest}"
    if folder.is_dir():
        return folder
    interpreter.build()
    incomplete = folder.with_suffix(".incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    subprocess.run(  # noqa: S603
        [interpreter.python, "-m", "benchmarks.harness.training", str(incomplete)],
        cwd=PROJECT,
        env=interpreter.variables(),
        check=True,
        timeout=TRAINING_TIMEOUT_SECONDS,
    )
    incomplete.rename(folder)
    return folder
