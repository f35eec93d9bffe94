"""How an ONNX graph takes rows, found by running it on synthetic rows. No Django here.

Most graphs have the rows as the first dimension of every tensor. Others have no such dimension: a
detector for one image, or a graph whose outputs have another number of rows than its inputs. Such a
graph is "unbatched": a row is a complete set of its tensors.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from registry.runtimes.base import InferenceError, LoadError
from registry.runtimes.independence import Dependence, find_dependence
from registry.signatures.signature import DTYPES, Batching, ClassLabel, Input, Signature
from registry.signatures.synthetic_rows import N_PROBE_SETS, n_probe_rows, synthesize_sets

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
# How much of an answer's size a row may owe to the rows beside it.
MIXTURE = 0.01

RawOutput: TypeAlias = np.ndarray | list[dict[ClassLabel, float]]
"""What a session returns for one output: an array, or for ZipMap a mapping of classes to
probabilities for each row.
"""
Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], Sequence[RawOutput]]
"""One run of the graph; raises InferenceError."""


class TensorInfo(Protocol):
    """The part of onnxruntime.NodeArg that is used. A dimension is an integer if it is fixed."""

    name: str
    type: str
    shape: Sequence[object]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a graph takes rows.

    `inputs` are those of the signature. With `is_unbatched`, each call takes one row, without its
    first dimension. `batch_size` is the number of rows of every call, None for any number. With
    `is_quantized`, an operator takes its scale from all rows of a call.
    """

    inputs: tuple[Input, ...]
    is_unbatched: bool
    batch_size: int | None = None
    is_quantized: bool = False

    @property
    def batching(self) -> Batching | None:
        """What the layout alone determines.

        With a fixed batch size, a single row is scored beside copies of itself. That is its own
        answer only if rows are independent.
        """
        if self.is_unbatched:
            return "unbatched"
        if self.is_quantized and self.batch_size is None:
            # Labels may hide it: they change only near the border of a class.
            return "single"
        return "joined" if self.batch_size not in (None, 1) else None

    @property
    def takes_tables(self) -> bool:
        """Whether every row has the same size."""
        return not self.is_unbatched and not any(-1 in item.row_shape for item in self.inputs)

    def run(self, session: Run, arrays: Mapping[str, np.ndarray]) -> Sequence[RawOutput]:
        """Each output for n rows, from one array (n, ...) for each input.

        Raises InferenceError, also if the outputs do not have the rows.
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
    session: Run,
    infos: Sequence[TensorInfo],
    nullable: frozenset[str],
    *,
    batching: Batching | None,
    is_quantized: bool,
) -> Measurement:
    """Find the layout in which the graph answers; `batching` is what the owner declares.

    Dynamic quantization takes its scale from a whole batch, whose rows are still rows. Raises
    LoadError for inputs that mlapi does not support.
    """
    unbatched = batching == "unbatched"
    complete = layout_of(infos, nullable, unbatched=True)
    if unbatched or not _may_have_rows(infos):
        return Measurement(complete, _runs(session, complete, (1,)))
    batched = replace(layout_of(infos, nullable, unbatched=False), is_quantized=is_quantized)
    batch_size = batched.batch_size
    runs = _runs(session, batched, PROBE_ROWS if batch_size is None else (batch_size,))
    if runs and _have_rows(batched, runs) and _has_rows(session, batched, batching):
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
        with suppress(InferenceError):
            return [
                layout.run(session, {name: array[:n] for name, array in rows.items()})
                for n in numbers
            ]
    return ()


def _have_rows(layout: Layout, runs: Sequence[Sequence[RawOutput]]) -> bool:
    """Whether every output of every run has the rows of that run."""
    numbers = PROBE_ROWS if layout.batch_size is None else (layout.batch_size,)
    return all(
        np.asarray(raw).shape[:1] == (n,)
        for run, n in zip(runs, numbers, strict=True)
        for raw in run
    )


def _has_rows(session: Run, layout: Layout, declared: Batching | None) -> bool:
    """Whether the first dimension is the rows, and not time or the parts of one input.

    It is not if items depend on each other. With a fixed batch size any dependence matters, since
    a single row is scored beside copies of itself; otherwise one that rounding and quantization do
    not explain.
    """
    if layout.batch_size == 1:
        return True
    if layout.batch_size is not None:
        found = _dependences(session, layout, None)
        is_independent = bool(found) and all(item is Dependence.NONE for item in found)
        return is_independent and not layout.is_quantized
    if declared is not None or layout.is_quantized:
        return True
    return Dependence.ON_OTHER_ROWS not in _dependences(session, layout, MIXTURE)


def _dependences(session: Run, layout: Layout, tolerance: float | None) -> list[Dependence]:
    """The dependence between the rows of each of the first synthetic sets that can be scored."""

    def predict(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raws = layout.run(session, arrays)
        return {str(i): np.asarray(raw) for i, raw in enumerate(raws)}

    found: list[Dependence] = []
    signature = Signature(layout.inputs)
    for rows in synthesize_sets(signature, {}, n_probe_rows(signature)):
        with suppress(InferenceError):
            found.append(find_dependence(predict, rows, tolerance))
        if len(found) == N_PROBE_SETS:
            break
    return found


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
