"""How a model's answer is divided among its features: what a runtime may offer for that. No Django
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from registry.runtimes.base import InferenceError, Outputs

Link: TypeAlias = Literal["identity", "log", "logit", "softmax"]
"""How the margins of a row become its answers: the value itself, its exponential, the logistic
function of each, or their softmax.
"""
Method: TypeAlias = Literal["contributions", "margins"]
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explains:
    """What `explain` returns of a model.

    With the method "contributions", the library divides each margin among the features itself. With
    "margins", each margin is a sum of functions of one feature each, as that of a linear model.
    """

    method: Method
    link: Link

    @classmethod
    def from_json(cls, document: object) -> "Explains | None":
        """Read `[method, link]`; None for anything else."""
        known = {(method, link) for method in get_args(Method) for link in get_args(Link)}
        if isinstance(document, list) and tuple(document) in known:
            return cls(*document)
        return None

    def as_json(self) -> list[str]:
        return [self.method, self.link]


@runtime_checkable
class Explainable(Protocol):
    """A runtime that may know what each feature contributes to an answer."""

    explains: Explains | None
    """None if it does not know it for this model."""

    def explain(
        self, inputs: Mapping[str, npt.NDArray[np.generic]], seconds: float | None = None
    ) -> Outputs:
        """The margins (n, k) of n rows; with the method "contributions" also `base` (n, k), and
        `contributions` (n, k, f) of the f features, which add up to the margins.

        There is a margin for each value that the model predicts, or for each class; a single one
        belongs to the second of two classes. Raises InferenceError, and DeadlineExceeded if the
        call can be given up and takes longer than `seconds`.
        """


def explains_of(runtime: object) -> Explains | None:
    return runtime.explains if isinstance(runtime, Explainable) else None


def divided(values: npt.NDArray[np.generic], margins: npt.NDArray[np.generic]) -> Outputs:
    """What `explain` returns, from contributions (n, k, f + 1) whose last is the base."""
    parts = np.asarray(values, np.float64)
    if not np.isfinite(parts).all():
        raise InferenceError("The library's contributions are not finite")
    return {
        "margins": np.asarray(margins, np.float64).reshape(parts.shape[:2]),
        "base": parts[:, :, -1],
        "contributions": parts[:, :, :-1],
    }


def apply_link(link: Link, margins: Floats) -> Floats:
    """The answers that the margins (n, k) stand for, of the same shape."""
    with np.errstate(over="ignore"):
        match link:
            case "log":
                return np.exp(margins)
            case "logit":
                # Of a large negative number the exponential is infinite, and the result 0.
                return 1 / (1 + np.exp(-margins))
            case "softmax":
                shifted = np.exp(margins - margins.max(axis=1, keepdims=True))
                return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    return margins
