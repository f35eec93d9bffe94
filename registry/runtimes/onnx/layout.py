"""How an ONNX graph takes rows, found by running it on synthetic rows. No Django here.

Most graphs have the rows as the first dimension of every tensor. Others have no such dimension: a
detector for one image, or a graph whose outputs have another number of rows than its inputs. Such a
graph is "unbatched": a row is a complete set of its tensors.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from registry.runtimes.base import InferenceError, LoadError
from registry.runtimes.independence import Dependence, find_dependence
from registry.signatures.signature import DTYPES, Batching, ClassLabel, Input, Signature
from registry.signatures.synthetic_rows import synthesize_sets

DATATYPES_BY_TYPE: Mapping[str, str] = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    **{f"tensor({name.lower()})": name for name in DTYPES if "INT" in name},
}
"""Datatypes by onnxruntime's names of tensor types."""

# Two numbers of rows, so that a fixed dimension is not mistaken for the rows.
PROBE_ROWS = (2, 3, 1)
N_PADDED_ROWS = 8
N_PADDED_SETS = 2

RawOutput: TypeAlias = np.ndarray | list[dict[ClassLabel, float]]
"""What a session returns for one output: an array, or for ZipMap a mapping of classes to
probabilities for each row.
"""
Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], Sequence[RawOutput]]


class TensorInfo(Protocol):
    """The part of onnxruntime.NodeArg that is used. A dimension is an integer if it is fixed."""

    name: str
    type: str
    shape: Sequence[object]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a graph takes rows.

    `inputs` are those of the signature. With `is_unbatched`, each call takes one row, without its
    first dimension. `batch_size` is the number of rows of every call, None for any number.
    """

    inputs: tuple[Input, ...]
    is_unbatched: bool
    batch_size: int | None = None

    @property
    def batching(self) -> Batching | None:
        """What the layout alone determines.

        With a fixed batch size, a single row is scored beside copies of itself. That is its own
        answer only if rows are independent.
        """
        if self.is_unbatched:
            return "unbatched"
        return "joined" if self.batch_size not in (None, 1) else None

    @property
    def takes_tables(self) -> bool:
        """Whether every row has the same size."""
        return not self.is_unbatched and not any(-1 in item.row_shape for item in self.inputs)

    def run(self, session: Run, arrays: Mapping[str, np.ndarray]) -> Sequence[RawOutput]:
        """Each output for n rows, from one array (n, ...) for each input.

        `session` runs the graph once. Raises InferenceError if the outputs do not have its rows,
        and what the session raises.
        """
        feeds = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        n_rows = len(next(iter(feeds.values())))
        if self.is_unbatched:
            rows = ({name: array[i, ...] for name, array in feeds.items()} for i in range(n_rows))
            outputs = zip(*(session(row) for row in rows), strict=True)
            return [_stacked(parts) for parts in outputs]
        if self.batch_size is None:
            return session(feeds)
        batches: list[Sequence[RawOutput]] = []
        for start in range(0, n_rows, self.batch_size):
            # The last batch is padded with its last row; those outputs are cut off again.
            places = np.minimum(np.arange(start, start + self.batch_size), n_rows - 1)
            batches.append(session({name: array[places] for name, array in feeds.items()}))
        return [_joined(parts, self.batch_size, n_rows) for parts in zip(*batches, strict=True)]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A layout, and the raw outputs of several runs in it; none if no synthetic row could be
    scored.
    """

    layout: Layout
    runs: Sequence[Sequence[RawOutput]]


def measure(
    session: Run, infos: Sequence[TensorInfo], nullable: frozenset[str], *, unbatched: bool
) -> Measurement:
    """Find the layout in which the graph answers; with `unbatched`, take that one.

    Raises LoadError for inputs that mlapi does not support.
    """
    complete = layout_of(infos, nullable, unbatched=True)
    if unbatched or not _may_have_rows(infos):
        return Measurement(complete, _runs(session, complete, (1,)))
    batched = layout_of(infos, nullable, unbatched=False)
    batch_size = batched.batch_size
    runs = _runs(session, batched, PROBE_ROWS if batch_size is None else (batch_size,))
    if runs and _have_rows(batched, runs) and _pads_without_effect(session, batched):
        return Measurement(batched, runs)
    if complete_runs := _runs(session, complete, (1,)):
        return Measurement(complete, complete_runs)
    return Measurement(batched, ())


def layout_of(infos: Sequence[TensorInfo], nullable: frozenset[str], *, unbatched: bool) -> Layout:
    """One of the two layouts for these inputs; raises LoadError."""
    inputs = _inputs(infos, nullable, unbatched=unbatched)
    sizes = [] if unbatched else [info.shape[0] for info in infos]
    batch_size = next((size for size in sizes if isinstance(size, int)), None)
    return Layout(inputs, unbatched, batch_size)


def row_shape_of(info: TensorInfo) -> tuple[int, ...]:
    """The declared dimensions, -1 for each that varies."""
    return tuple(size if isinstance(size, int) and size > 0 else -1 for size in info.shape)


# -- inputs


def _inputs(
    infos: Sequence[TensorInfo], nullable: frozenset[str], *, unbatched: bool
) -> tuple[Input, ...]:
    inputs: list[Input] = []
    for info in infos:
        datatype = DATATYPES_BY_TYPE.get(info.type)
        if datatype is None:
            raise LoadError(
                f"input '{info.name}' has the type {info.type}, which mlapi does not support"
            )
        if 0 in info.shape:
            raise LoadError(f"input '{info.name}' has the shape {list(info.shape)}: it is empty")
        is_nullable = info.name in nullable and DTYPES[datatype].kind == "f"
        shape = row_shape_of(info)
        inputs.append(Input(info.name, datatype, (-1, *shape[not unbatched :]), (), is_nullable))
    if not inputs:
        raise LoadError("the graph has no inputs")
    return tuple(inputs)


def _may_have_rows(infos: Sequence[TensorInfo]) -> bool:
    """Whether the inputs can share a first dimension."""
    if not all(info.shape for info in infos):
        return False
    return len({info.shape[0] for info in infos if isinstance(info.shape[0], int)}) <= 1


# -- runs on synthetic rows


def _runs(session: Run, layout: Layout, numbers: Sequence[int]) -> Sequence[Sequence[RawOutput]]:
    """The outputs for each number of rows, from the first synthetic rows that can be scored."""
    for rows in synthesize_sets(Signature(layout.inputs), {}, max(numbers)):
        try:
            return [
                layout.run(session, {name: array[:n] for name, array in rows.items()})
                for n in numbers
            ]
        # The exceptions of onnxruntime have no common base class below Exception.
        except Exception:  # noqa: S112 - other rows may fit the graph
            continue
    return ()


def _have_rows(layout: Layout, runs: Sequence[Sequence[RawOutput]]) -> bool:
    """Whether every output of every run has the rows of that run."""
    numbers = PROBE_ROWS if layout.batch_size is None else (layout.batch_size,)
    return all(
        np.asarray(raw).shape[:1] == (n,)
        for run, n in zip(runs, numbers, strict=True)
        for raw in run
    )


def _pads_without_effect(session: Run, layout: Layout) -> bool:
    """Whether a row of a graph with a fixed batch size is independent of the others in its batch.

    If not, the first dimension is not the rows.
    """
    if layout.batch_size in (None, 1):
        return True

    def predict(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            raws = layout.run(session, arrays)
        except Exception as error:
            raise InferenceError(str(error)) from error
        return {str(i): np.asarray(raw) for i, raw in enumerate(raws)}

    found: list[Dependence] = []
    for rows in synthesize_sets(Signature(layout.inputs), {}, N_PADDED_ROWS):
        with suppress(InferenceError):
            found.append(find_dependence(predict, rows))
        if len(found) == N_PADDED_SETS:
            break
    return bool(found) and all(item is Dependence.NONE for item in found)


# -- several runs


def _stacked(parts: Sequence[RawOutput]) -> np.ndarray:
    """One output of several rows, whose shapes must agree."""
    if any(isinstance(part, list) for part in parts):
        raise InferenceError("The model returned a sequence instead of a tensor")
    arrays = [np.asarray(part) for part in parts]
    if len({array.shape for array in arrays}) > 1:
        raise InferenceError("The model returned outputs of different shapes for these rows")
    return np.stack(arrays)


def _joined(parts: Sequence[RawOutput], batch_size: int, n_rows: int) -> RawOutput:
    """One output of several batches, without the padding behind `n_rows`."""
    for part in parts:
        shape = np.asarray(part).shape
        if shape[:1] != (batch_size,):
            raise InferenceError(
                f"The model returned an output of the shape {list(shape)} for {batch_size} rows"
            )
    maps = [row for part in parts if isinstance(part, list) for row in part]
    if maps:
        return maps[:n_rows]
    return np.concatenate([np.asarray(part) for part in parts])[:n_rows]
