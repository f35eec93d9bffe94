"""ONNX models, run by onnxruntime on the CPU. No Django here."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

# Read only when onnxruntime is imported. Without it, onnxruntime sends telemetry and writes files
# below the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnx
import onnxruntime

from registry.runtimes.base import InferenceError, LoadError, LoadOptions, Outputs
from registry.runtimes.onnx.graph import read_model, takes_missing_values
from registry.runtimes.onnx.outputs import (
    DATATYPES_BY_TYPE,
    GraphOutput,
    RawOutput,
    TensorInfo,
    declared_row_shape,
    describe_output,
    read_output,
    relabel_false_probabilities,
    signature_outputs,
)
from registry.signatures.signature import DTYPES, Input, Signature

_PROBE_ROWS = 2
_LOG_FATAL = 4


class Session(Protocol):
    """The part of onnxruntime.InferenceSession that is used."""

    def get_inputs(self) -> Sequence[TensorInfo]: ...

    def get_outputs(self) -> Sequence[TensorInfo]: ...

    def run(
        self, output_names: None, input_feed: Mapping[str, np.ndarray]
    ) -> Sequence[RawOutput]: ...


class OnnxRuntime:
    """A session with one thread. A graph with a fixed batch size is run in batches of that size."""

    def __init__(self, session: Session, model: onnx.ModelProto) -> None:
        producer = model.producer_name or "onnxruntime"
        version = model.producer_version if model.producer_name else onnxruntime.__version__
        self.libraries: Mapping[str, str] = {producer: version or "unknown"}
        self._session = session
        self._batch_size = _fixed_batch_size(session)
        inputs = _read_inputs(session, takes_missing_values(model))
        self._graph_outputs = self._describe_outputs(Signature(inputs).sample())
        self.signature = Signature(inputs, signature_outputs(self._graph_outputs, model))

    def refine_signature(self, signature: Signature, outputs: Outputs) -> Signature:
        return relabel_false_probabilities(signature, outputs)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows, one array for each input of the graph; see Runtime.predict."""
        try:
            raw_outputs = self._run(inputs)
            return {
                output.name: read_output(graph_output, output, raw)
                for graph_output, output, raw in zip(
                    self._graph_outputs, self.signature.outputs, raw_outputs, strict=True
                )
            }
        # The exceptions of onnxruntime have no common base class below Exception.
        except Exception as error:
            raise InferenceError(str(error)) from error

    def _run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[RawOutput]:
        """Each output of the graph, for all rows."""
        feeds = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        if self._batch_size is None:
            return self._session.run(None, feeds)
        n_rows = len(next(iter(feeds.values())))
        batches: list[Sequence[RawOutput]] = []
        for start in range(0, n_rows, self._batch_size):
            # The last batch is padded with its last row; those outputs are cut off again.
            rows = np.minimum(np.arange(start, start + self._batch_size), n_rows - 1)
            batch = {name: array[rows] for name, array in feeds.items()}
            batches.append(self._session.run(None, batch))
        return [_join(parts, n_rows) for parts in zip(*batches, strict=True)]

    def _describe_outputs(self, row: Mapping[str, np.ndarray]) -> list[GraphOutput]:
        """The outputs of the graph, with shapes measured on made-up rows."""
        declared = self._session.get_outputs()
        measured: Sequence[RawOutput | None]
        try:
            measured = self._run(
                {name: np.repeat(array, _PROBE_ROWS, axis=0) for name, array in row.items()}
            )
        # Some graphs fail on a row of ones; then the declared shapes are used.
        except Exception:
            measured = [None] * len(declared)
        return [
            describe_output(info, raw, n_rows=_PROBE_ROWS)
            for info, raw in zip(declared, measured, strict=True)
        ]


def load(path: Path, options: LoadOptions) -> OnnxRuntime:
    """Load an `.onnx` file; raises LoadError, also for external data and custom operators."""
    model, content = read_model(path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _LOG_FATAL
    # Otherwise a file in onnxruntime's own format would evade the checks of `read_model`.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(
            content, settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise LoadError(f"onnxruntime cannot load the model: {error}") from error
    return OnnxRuntime(session, model)


def _fixed_batch_size(session: Session) -> int | None:
    sizes = {info.shape[0] for info in session.get_inputs() if info.shape}
    fixed = {size for size in sizes if isinstance(size, int)}
    if len(fixed) > 1:
        raise LoadError(
            f"the inputs have different fixed batch sizes: {sorted(fixed)}. Export the model with "
            "a dynamic batch dimension"
        )
    return next(iter(fixed), None)


def _read_inputs(session: Session, takes_missing: bool) -> tuple[Input, ...]:
    inputs: list[Input] = []
    for info in session.get_inputs():
        datatype = DATATYPES_BY_TYPE.get(info.type)
        if datatype is None:
            raise LoadError(
                f"input '{info.name}' has the type {info.type}, which mlapi does not support"
            )
        if not info.shape:
            raise LoadError(
                f"input '{info.name}' is a scalar: its first dimension must be the batch"
            )
        nullable = takes_missing and DTYPES[datatype].kind == "f"
        inputs.append(Input(info.name, datatype, (-1, *declared_row_shape(info)), (), nullable))
    if not inputs:
        raise LoadError("the graph has no inputs")
    return tuple(inputs)


def _join(parts: Sequence[RawOutput], n_rows: int) -> RawOutput:
    """One output of several batches, without the padding behind `n_rows`."""
    maps = [row for part in parts if isinstance(part, list) for row in part]
    if maps:
        return maps[:n_rows]
    return np.concatenate([np.asarray(part) for part in parts])[:n_rows]
