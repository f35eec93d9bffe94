"""The rows that a new model is examined with, and what they show about joining rows. No Django
here.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from registry.artifacts.errors import ArtifactRejected
from registry.runtimes.base import InferenceError, Outputs, Runtime, profiles_of
from registry.runtimes.independence import (
    Dependence,
    find_dependence,
    has_differing_rows,
    take,
)
from registry.signatures.arrangement import Arrays
from registry.signatures.signature import Batching, Signature
from registry.signatures.synthetic_rows import (
    N_PROBE_SETS,
    Guess,
    n_probe_rows,
    synthesize_sets,
)

# Each row is a request to someone's server.
MAX_REMOTE_ROWS = 3
REMOTE_GUESSES: Sequence[Guess] = ("small", "constant")

_RANDOM = (
    "The model returns another answer each time it scores the same row, so no answer could be "
    "checked later. Export it for inference, without dropout or sampling."
)
_MEANINGLESS_ALONE = (
    "The model returns the same answer for every row alone, and other answers for rows together: "
    "it computes over the first dimension, such as a softmax or a mean over the rows. Export it "
    'with that computation over another dimension, or declare {"batching": "unbatched"} in the '
    "signature: then one input is the complete tensor."
)


def scorable_rows(runtime: Runtime, signature: Signature, framework: str) -> list[Arrays]:
    """The first sets of synthetic rows of which the model can score the first row.

    Raises the last InferenceError if it can score none.
    """
    found: list[Arrays] = []
    failure: InferenceError | None = None
    for rows in _synthetic_sets(runtime, signature, framework):
        try:
            runtime.predict(take(rows, [0]))
        except InferenceError as error:
            failure = error
            continue
        found.append(rows)
        if len(found) == N_PROBE_SETS:
            break
    if failure is not None and not found:
        raise failure
    return found


def _synthetic_sets(runtime: Runtime, signature: Signature, framework: str) -> Iterator[Arrays]:
    """Sets of rows that fit the signature, from the most realistic to constant ones."""
    if framework == "open-inference":
        return synthesize_sets(signature, {}, MAX_REMOTE_ROWS, REMOTE_GUESSES)
    return synthesize_sets(signature, profiles_of(runtime), n_probe_rows(signature))


def single_answers(runtime: Runtime, sets: Sequence[Arrays]) -> Iterator[Outputs]:
    """The model's outputs for each row alone, without the rows that it cannot score."""
    for rows in sets:
        for i in range(len(next(iter(rows.values())))):
            with suppress(InferenceError):
                yield runtime.predict(take(rows, [i]))


def proved_batching(runtime: Runtime, signature: Signature, sets: Sequence[Arrays]) -> Batching:
    """How rows may share a call of this model, by its answers for these sets of rows.

    Raises ArtifactRejected for a model that answers by chance, or whose answer for a row means
    nothing without others.
    """
    if signature.batching == "unbatched":
        # A set of one row has no others to depend on.
        sets = [take(rows, [0]) for rows in sets]
    found: list[Dependence] = []
    for rows in sets:
        try:
            dependence = find_dependence(runtime.predict, rows)
        except InferenceError:
            dependence = Dependence.ON_OTHER_ROWS
        if dependence is Dependence.ON_CHANCE:
            raise ArtifactRejected(_RANDOM)
        if dependence is not Dependence.NONE or has_differing_rows(rows):
            found.append(dependence)
    if signature.batching in ("unbatched", "single"):
        return signature.batching
    if found and all(item is Dependence.ENTIRELY_ON_OTHER_ROWS for item in found):
        raise ArtifactRejected(_MEANINGLESS_ALONE)
    is_joinable = (
        bool(found)
        and all(item is Dependence.NONE for item in found)
        and not _has_shared_size(signature)
    )
    if signature.batching == "joined" and not is_joinable:
        raise ArtifactRejected(
            "The model's answer for a row depends on the rows beside it, or no rows showed that it "
            "does not. Leave batching out of the signature: then each row is scored in a call of "
            "its own.",
            field="signature",
        )
    return "joined" if is_joinable else "single"


def _has_shared_size(signature: Signature) -> bool:
    """Whether an output has a dimension whose size depends on the rows' values.

    It is the same for all rows of a call, so a row may get an answer of another row's size.
    """
    return any(-1 in tensor.row_shape for tensor in signature.outputs) and not any(
        -1 in tensor.row_shape for tensor in signature.inputs
    )
