"""The rows on which a model and its ONNX form are compared. No Django here.

Rows that resemble the training data hide the differences that count: a zero that the model takes
for a missing value, a word that no training text had.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from registry.artifacts.errors import ArtifactRejected
from registry.conversion.launch import MIN_EXAMPLE_ROWS, N_SYNTHETIC_ROWS
from registry.runtimes.base import Outputs, Runtime, profiles_of
from registry.signatures.signature import Input, Signature, listed
from registry.signatures.synthetic_rows import Profiles, synthesize_rows

Arrays: TypeAlias = Mapping[str, np.ndarray]

SEED = 1
STOP_WORDS = "the of and to a in is it"
FOREIGN = "naïve Straße İstanbul 日本語 e-mail"


def rows_to_compare(
    runtime: Runtime, signature: Signature, example: Sequence[object]
) -> Sequence[object]:
    """The example rows, or synthetic ones. Raises ArtifactRejected if these would prove nothing."""
    if example:
        return example
    profiles = profiles_of(runtime)
    texts = [tensor.name for tensor in _free_texts(signature, profiles)]
    if texts:
        raise ArtifactRejected(
            f"The model reads texts that its file does not list ({listed(texts)}), and made-up"
            " texts do not show whether its ONNX form reads real ones alike. Send at least"
            f" {MIN_EXAMPLE_ROWS:,} real rows: --example-file.",
            field="example",
        )
    return synthesize_rows(signature, profiles, N_SYNTHETIC_ROWS)


def without_missing_objects(arrays: Arrays, outputs: Outputs) -> tuple[Arrays, Outputs]:
    """The rows that an ONNX graph can hold, with their outputs: it has no missing text.

    Raises ArtifactRejected if too few are left of the example rows.
    """
    n_rows = len(next(iter(arrays.values())))
    is_whole = np.ones(n_rows, bool)
    for values in arrays.values():
        if values.dtype == object:
            rows = values.reshape(n_rows, -1)
            # NaN is the only value that differs from itself.
            is_whole &= np.array([all(v is not None and v == v for v in row) for row in rows])
    if is_whole.all():
        return arrays, outputs
    if is_whole.sum() < MIN_EXAMPLE_ROWS:
        raise ArtifactRejected(
            "An ONNX graph holds no missing text, integer or boolean, and only"
            f" {is_whole.sum():,} of the example rows have none. Send at least"
            f" {MIN_EXAMPLE_ROWS:,} such rows.",
            field="example",
        )
    return (
        {name: values[is_whole] for name, values in arrays.items()},
        {name: values[is_whole] for name, values in outputs.items()},
    )


def unusual_rows(runtime: Runtime, signature: Signature, arrays: Arrays) -> dict[str, np.ndarray]:
    """The rows again, with values that are rare but possible.

    A number becomes zero, whole, or the smallest or largest of its column; none leaves the range of
    the column. A free text gets capitals, punctuation, stop words, other scripts or unknown words,
    another order, or becomes empty.
    """
    random = np.random.default_rng(SEED)
    result = dict(arrays)
    free_texts = {tensor.name for tensor in _free_texts(signature, profiles_of(runtime))}
    for tensor in signature.inputs:
        values = arrays[tensor.name]
        if values.dtype.kind == "f":
            result[tensor.name] = _unusual_numbers(random, values)
        elif tensor.name in free_texts:
            result[tensor.name] = _unusual_texts(values)
    return result


def _free_texts(signature: Signature, profiles: Profiles) -> list[Input]:
    """The text columns whose values are not from a list that the model knows."""
    found: list[Input] = []
    position = 0
    for tensor in signature.inputs:
        if tensor.datatype == "BYTES":
            profile = profiles.get(position)
            if profile is None or not profile.choices:
                found.append(tensor)
        position += abs(int(np.prod(tensor.row_shape, dtype=np.int64)))
    return found


def _unusual_numbers(random: np.random.Generator, values: np.ndarray) -> np.ndarray:
    columns = values.reshape(len(values), -1)
    with np.errstate(invalid="ignore"):
        low, high = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
        choices = [
            columns,
            np.clip(np.round(columns), low, high),
            np.where((low <= 0) & (high >= 0), 0.0, columns),
            np.broadcast_to(low, columns.shape),
            np.broadcast_to(high, columns.shape),
        ]
    # Most values stay, so that a row is not made of extremes alone.
    picked = random.choice(len(choices), columns.shape, p=[0.6, 0.1, 0.2, 0.05, 0.05])
    return np.choose(picked, choices).astype(values.dtype).reshape(values.shape)


def _unusual_texts(texts: np.ndarray) -> np.ndarray:
    result = texts.copy()
    flat = result.reshape(-1)
    for i, text in enumerate(flat):
        if isinstance(text, str):
            flat[i] = _unusual_text(text, i)
    return result


def _unusual_text(text: str, number: int) -> str:
    """One of several changes, by turns."""
    words = text.split()
    changed = (
        text.upper(),
        f'({text}), "{text}"!? {text}\'s',
        f"{STOP_WORDS} {text}",
        " the ".join([*words, *words]),
        # A vectorizer that drops words of one letter takes those around it for neighbours.
        " a ".join([*words, *words]),
        f"{text} {FOREIGN}",
        " ".join(f"{word} unheardof{number}" for word in words),
        " ".join(reversed(words)),
        f"  {text}\t\n{text}",
        "",
        "_".join(words),
    )
    return changed[number % len(changed)]
