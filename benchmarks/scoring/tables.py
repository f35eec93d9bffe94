"""Writes a table of random numbers, and the model that scores it: `python -m
benchmarks.scoring.tables FOLDER ROWS`, in mlapi's environment.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier

from benchmarks.scoring.runs import N_FEATURES

SEED = 20261130
GROUP_ROWS = 100_000
TRAINING_ROWS = 2000


def main(folder: Path, rows: int) -> None:
    random = np.random.default_rng(SEED)
    write_model(folder / "model.onnx", random)
    schema = pa.schema([(f"f{i}", pa.float64()) for i in range(N_FEATURES)] + [("id", pa.int64())])
    with parquet.ParquetWriter(folder / "rows.parquet", schema) as writer:
        for start in range(0, rows, GROUP_ROWS):
            size = min(GROUP_ROWS, rows - start)
            columns = [random.normal(size=size) for _ in range(N_FEATURES)]
            ids = np.arange(start, start + size)
            writer.write_table(
                pa.Table.from_arrays([*map(pa.array, [*columns, ids])], schema=schema)
            )


def write_model(path: Path, random: np.random.Generator) -> None:
    """A small network, of twenty numbers."""
    values = random.normal(size=(TRAINING_ROWS, N_FEATURES)).astype(np.float32)
    network = MLPClassifier((64, 32), max_iter=50, random_state=SEED)
    network.fit(values, (values[:, 0] + values[:, 1] ** 2 > 1).astype(int))
    converted = to_onnx(network, values[:1], options={"zipmap": False})
    path.write_bytes(converted.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
