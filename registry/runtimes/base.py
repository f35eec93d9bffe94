"""What every runtime offers: it loads a model file once, reads its signature and scores arrays. No
Django here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from registry.signatures.signature import ClassLabel, Output, Signature, label_datatype
from registry.signatures.synthetic_rows import Profiles

Outputs: TypeAlias = dict[str, np.ndarray]


class LoadError(Exception):
    """A runtime cannot load the file; the message explains why, and what to do instead."""


class InferenceError(Exception):
    """The model failed on its input; the message is the library's own."""


class RuntimeUnavailable(InferenceError):
    """The model could not be reached, whatever the input; try again after `retry_after` seconds.

    Unlike after another InferenceError, do not score the rows one by one: each would fail alike.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(InferenceError):
    """The model did not answer in time, and its call was given up.

    Do not score the rows one by one: there is no time left.
    """


# The document of a remote model may name only environment variables with this prefix. Otherwise
# anyone who may register a model could send this service's own secrets to a server.
SECRET_PREFIX = "MLAPI_REMOTE_"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Which servers may be called for predictions, and the secrets that may be sent to them.

    `origins` are `scheme://host[:port]`, matched exactly. `secrets` are header values by the name
    of their environment variable, which starts with SECRET_PREFIX.
    """

    origins: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a runtime may do with a file.

    `trusted_types` are dotted names that extend the fixed list for scikit-learn. The signatures
    serve a runtime whose file has none: `declared` is the caller's at registration, `proven` is
    the one that was stored then; with it, the runtime need not ask the server again.
    """

    trusted_types: frozenset[str] = frozenset()
    remote: RemoteOptions = RemoteOptions()
    declared: Signature | None = None
    proven: Signature | None = None


class Runtime(Protocol):
    """A loaded model, shared between threads. Each call uses one thread of its library."""

    signature: Signature
    """As read from the file; an input's `datatype` is None if the file does not have it."""

    libraries: Mapping[str, str]
    """Name and version of the libraries that wrote the file, or that read it if it names none."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows: one array of shape (n, ...) for each input of the signature, one for each
        of its outputs.

        A "label" output is an INT64 array (n,) of indices into its classes, "probabilities" are
        (n, classes), "value" is (n,) or (n, k, ...). Raises InferenceError if the library fails.
        """


@runtime_checkable
class Interruptible(Protocol):
    """A runtime whose call can be given up: a remote server, or a model in a process of its own."""

    def predict_within(self, inputs: Mapping[str, np.ndarray], seconds: float) -> Outputs:
        """Like `predict`; raises DeadlineExceeded if there is no answer after `seconds`."""


@runtime_checkable
class SignatureRefiner(Protocol):
    """A runtime whose file does not say everything about its outputs."""

    def refine_signature(self, signature: Signature, outputs: Outputs) -> Signature:
        """The signature, corrected by outputs that the model returned under it."""


@runtime_checkable
class Profiled(Protocol):
    """A runtime whose file reveals something about the values in the training data."""

    def profiles(self) -> Profiles:
        """The values of each column, by the position of a value in a row's `features` list."""


@runtime_checkable
class Hazardous(Protocol):
    """A runtime whose file passes every check, but on some input might still do harm."""

    hazard: str
    """Why a call may never end, or end the process; "" if it is known that none can."""


def hazard_of(runtime: Runtime) -> str:
    """The runtime's hazard; "" for one that knows of none."""
    return runtime.hazard if isinstance(runtime, Hazardous) else ""


def profiles_of(runtime: Runtime) -> Profiles:
    """What the runtime's file reveals about the columns; empty if it reveals nothing."""
    return runtime.profiles() if isinstance(runtime, Profiled) else {}


class RuntimeModule(Protocol):
    """What the loader calls in a runtime's module."""

    def load(self, path: Path, options: LoadOptions) -> Runtime:
        """Load the model in `path`; raises LoadError. A native parser may crash the process: see
        `registry.artifacts.proof`.
        """


def require_valid_outputs(signature: Signature, outputs: Outputs, n_rows: int) -> None:
    """Raise InferenceError unless the model returned each output of the signature, with `n_rows`
    rows of the output's shape, probabilities are numbers, and labels are indices into their
    classes.
    """
    for output in signature.outputs:
        values = outputs.get(output.name)
        if values is None:
            raise InferenceError(f"The model did not return '{output.name}'")
        shape, row_shape = values.shape, output.row_shape
        if shape != (n_rows, *row_shape) and not _is_of_shape(shape, n_rows, row_shape):
            raise InferenceError(
                f"The model returned '{output.name}' with the shape {list(shape)} for {n_rows} "
                f"rows, instead of {[n_rows, *row_shape]}"
            )
        if output.kind == "probabilities" and values.dtype.kind not in "fiu":
            raise InferenceError(f"The model returned '{output.name}' without numbers")
        if output.kind == "label":
            if values.dtype.kind not in "iu":
                raise InferenceError(f"The model returned '{output.name}' without whole numbers")
            # For a few rows, a list is several times faster than numpy.
            indexes = values.tolist()
            if indexes and not (min(indexes) >= 0 and max(indexes) < len(output.classes)):
                raise InferenceError(
                    f"The model returned a class in '{output.name}' that is outside its classes"
                )


def _is_of_shape(shape: tuple[int, ...], n_rows: int, row_shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 + len(row_shape) and all(
        expected in (-1, actual)
        for expected, actual in zip((n_rows, *row_shape), shape, strict=True)
    )


def target_names(n_targets: int) -> tuple[str, ...]:
    """Names for the targets of a model that does not name them; "" for its only one."""
    return ("",) if n_targets == 1 else tuple(f"y{i}" for i in range(n_targets))


def value_outputs(n_targets: int, datatype: str) -> tuple[Output, ...]:
    """The outputs of a model that predicts one number for each target."""
    return tuple(Output(name or "value", datatype, (-1,)) for name in target_names(n_targets))


def class_outputs(
    classes: tuple[ClassLabel, ...], probability_datatype: str | None, target: str = ""
) -> tuple[Output, ...]:
    """The outputs of a classifier: "label", and "probabilities" unless their datatype is None.

    With several targets, each has outputs named `<target>` and `<target>_probabilities`.
    """
    label = Output(target or "label", label_datatype(classes), (-1,), "label", classes)
    if probability_datatype is None:
        return (label,)
    name = f"{target}_probabilities" if target else "probabilities"
    shape = (-1, len(classes))
    return (label, Output(name, probability_datatype, shape, "probabilities", classes))
