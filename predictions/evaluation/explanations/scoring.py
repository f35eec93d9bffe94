"""Calls a loaded model for an explanation: in small calls, until a deadline."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from predictions.evaluation.explanations.recorded import numbers_of
from predictions.serving.limits.deadlines import Deadline
from registry.loading.cache import LoadedModel
from registry.runtimes.base import InferenceError, Outputs, require_valid_outputs
from registry.runtimes.contributions import Explainable

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Floats: TypeAlias = npt.NDArray[np.float64]

# Rows of one call: other callers of a model in a process of its own wait for it.
CALL_ROWS = 1000
# Rows of an explanation, whose number grows with the features; a single row a call takes longer.
MAX_ROWS, MAX_SINGLE_ROWS = 20_000, 1_000


@dataclass(frozen=True, slots=True)
class Scorer:
    """Each call goes the way of a prediction: a crash or a hung call is that of the model."""

    model: LoadedModel
    deadline: Deadline | None

    @property
    def max_rows(self) -> int:
        return MAX_ROWS if self.model.signature.is_joinable else MAX_SINGLE_ROWS

    def explain(self, arrays: Arrays) -> Outputs:
        """See Explainable.explain. Raises InferenceError, and DeadlineExceeded as all here do."""
        runtime = self.model.runtime
        assert isinstance(runtime, Explainable)
        return runtime.explain(arrays, self._seconds())

    def margins(self, arrays: Arrays) -> Floats:
        return self._in_calls(arrays, lambda part: self.explain(part)["margins"])

    def numbers(self, arrays: Arrays) -> Floats:
        """The numbers (n, k) of the answers to n rows."""
        return self._in_calls(arrays, self._numbers)

    def _numbers(self, arrays: Arrays) -> Floats:
        seconds, model = self._seconds(), self.model
        if seconds is not None and model.interruptible is not None:
            outputs = model.interruptible.predict_within(arrays, seconds)
        else:
            outputs = model.runtime.predict(arrays)
        require_valid_outputs(model.signature, outputs, _size(arrays))
        return numbers_of(model.signature, outputs)

    def _in_calls(self, arrays: Arrays, call: Callable[[Arrays], Floats]) -> Floats:
        step = CALL_ROWS if self.model.signature.is_joinable else 1
        parts = [
            call({name: array[start : start + step] for name, array in arrays.items()})
            for start in range(0, _size(arrays), step)
        ]
        values = np.concatenate(parts)
        if not np.isfinite(values).all():
            raise InferenceError("it answered NaN or infinity to rows mixed with its reference")
        return values

    def _seconds(self) -> float | None:
        if self.deadline is None:
            return None
        if self.deadline.has_passed:
            raise self.deadline.exceeded()
        return self.deadline.at - time.monotonic()


def _size(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))
