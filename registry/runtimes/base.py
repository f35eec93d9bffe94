"""What every runtime is: a model file, loaded once, that tells its signature and scores arrays. No
Django here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from registry.signatures.signature import ClassLabel, Output, Signature, label_datatype

Outputs: TypeAlias = dict[str, np.ndarray]


class LoadError(Exception):
    """The file is no model that this runtime can load; the message tells its owner why, and what to
    do instead.
    """


class InferenceError(Exception):
    """The model itself failed on the input it was given; the message is the library's own."""


class RuntimeUnavailable(InferenceError):
    """The model could not be asked, whatever the input was; `retry_after` (seconds) tells when it
    may be.

    Scoring the rows one by one, as after another InferenceError, would ask it once more for each.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# Of the environment, what the document of a remote model may name, and nothing else: whoever
# registers models must not send this service's own secrets anywhere.
SECRET_PREFIX = "MLAPI_REMOTE_"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Which servers may be asked for predictions, and what may be told to them.

    `origins` are `scheme://host[:port]`, matched exactly; `secrets` are values of headers by the
    name of their environment variable, each of which starts with SECRET_PREFIX.
    """

    origins: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a runtime may do with a file; `trusted_types` are dotted names added to the fixed list
    of scikit-learn.

    The signatures are for a runtime whose file tells none: `declared` is the caller's at
    registration, `proven` is what was stored then, and spares asking anew.
    """

    trusted_types: frozenset[str] = frozenset()
    remote: RemoteOptions = RemoteOptions()
    declared: Signature | None = None
    proven: Signature | None = None


class Runtime(Protocol):
    """A loaded model. Instances are shared between threads, and answer with one thread of their
    library each.
    """

    signature: Signature
    """What the file tells; an input's `datatype` is None where the file does not know it."""

    libraries: Mapping[str, str]
    """Name and version of the libraries that wrote the file, as far as it tells; else that read it.
    """

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows: one array of shape (n, ...) for each input of the signature, one for each
        of its outputs.

        A "label" output is an INT64 array (n,) of indices into its classes, "probabilities" are (n,
        classes), "value" is (n,) or (n, k, ...). Raises InferenceError when the library does.
        """


def class_outputs(
    classes: tuple[ClassLabel, ...], probabilities: str | None, target: str = ""
) -> tuple[Output, ...]:
    """The outputs of a classifier: "label", and "probabilities" of that datatype unless it is None.

    Of several targets, each has its own pair, named `<target>` and `<target>_probabilities`.
    """
    label = Output(target or "label", label_datatype(classes), (-1,), "label", classes)
    if probabilities is None:
        return (label,)
    name = f"{target}_probabilities" if target else "probabilities"
    return (label, Output(name, probabilities, (-1, len(classes)), "probabilities", classes))


class RuntimeModule(Protocol):
    """What the loader calls of a file in this folder."""

    def load(self, path: Path, options: LoadOptions) -> Runtime:
        """Load the model in `path`; raises LoadError. A native parser may end the process: see
        `registry.artifacts.proof`.
        """
