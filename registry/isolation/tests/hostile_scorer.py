"""The scorer with a model that does harm on certain inputs; it is started as the scorer is.

The largest of the rows' first values chooses: see the constants. Other rows are scored by the real
model.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from registry.isolation import messages, scorer
from registry.runtimes import runtime_module
from registry.runtimes.base import LoadOptions, Outputs

CRASH, HANG, LIE, FLOOD, EXHAUST, KILL = (n * 1e30 for n in range(1, 7))


def load(path: Path, options: LoadOptions) -> object:
    runtime = runtime_module("sklearn").load(path, options)

    def predict(inputs: Mapping[str, np.ndarray]) -> Outputs:
        trigger = float(next(iter(inputs.values()))[:, 0].max())
        if trigger == CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if trigger == EXHAUST:
            raise MemoryError
        if trigger == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        while trigger == HANG:
            pass
        if trigger in (LIE, FLOOD):
            size = 2**62 if trigger == FLOOD else 8
            os.write(int(sys.argv[1]), messages._HEAD.pack(10, size) + b"not a reply")
        return runtime.predict(inputs)

    return SimpleNamespace(signature=runtime.signature, predict=predict)


if __name__ == "__main__":
    hostile = SimpleNamespace(load=load)
    setattr(scorer, "runtime_module", lambda framework: hostile)  # noqa: B010
    scorer.main(int(sys.argv[1]))
