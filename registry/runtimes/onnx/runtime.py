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
from registry.runtimes.onnx.bounds import unbounded_operators
from registry.runtimes.onnx.graph import is_quantized_dynamically, read_model, refuse_chance
from registry.runtimes.onnx.layout import RawOutput, TensorInfo, layout_of, measure
from registry.runtimes.onnx.missing_values import nullable_inputs
from registry.runtimes.onnx.outputs import (
    describe_outputs,
    measured_outputs,
    proven_outputs,
    read_output,
    relabel_false_probabilities,
)
from registry.signatures.signature import Signature, listed

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

    def __init__(self, session: Session, model: onnx.ModelProto, options: LoadOptions) -> None:
        """Raises LoadError."""
        self.hazard = unbounded_operators(model)
        producer = model.producer_name or "onnxruntime"
        version = model.producer_version if model.producer_name else onnxruntime.__version__
        self.libraries: Mapping[str, str] = {producer: version or "unknown"}
        self._session = session
        infos, nullable = session.get_inputs(), nullable_inputs(model)
        _require_input_shapes(infos, model)
        output_infos = session.get_outputs()
        proven, declared = options.proven, options.declared
        # A signature without `batching` was proved before graphs were examined as they are below.
        if proven is not None and proven.batching is not None:
            is_unbatched = proven.batching == "unbatched"
            self._layout = layout_of(infos, nullable, unbatched=is_unbatched)
            graph_outputs = proven_outputs(output_infos, proven)
        else:
            if proven is None:
                refuse_chance(model)
            measurement = measure(
                self._run_once,
                infos,
                nullable,
                batching=declared.batching if declared is not None else None,
                is_quantized=is_quantized_dynamically(model),
            )
            self._layout = measurement.layout
            graph_outputs = measured_outputs(output_infos, measurement, model)
        outputs = describe_outputs(
            graph_outputs, model, declared or proven, is_unbatched=self._layout.is_unbatched
        )
        self.signature = Signature(self._layout.inputs, outputs, self._layout.batching)

    def refine_signature(self, signature: Signature, outputs: Outputs) -> Signature:
        return relabel_false_probabilities(signature, outputs)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows, one array for each input of the signature; see Runtime.predict."""
        try:
            raw_outputs = self._layout.run(self._run_once, inputs)
            return {
                output.name: read_output(output, raw)
                for output, raw in zip(self.signature.outputs, raw_outputs, strict=True)
            }
        except InferenceError:
            raise
        # Reading an output that is not as described raises whatever numpy raises.
        except Exception as error:
            raise InferenceError(str(error)) from error

    def _run_once(self, feeds: Mapping[str, np.ndarray]) -> Sequence[RawOutput]:
        """Every output of one run of the graph; raises InferenceError."""
        try:
            return self._session.run(None, feeds)
        # The exceptions of onnxruntime have no common base class below Exception.
        except Exception as error:
            raise InferenceError(str(error)) from error


def _require_input_shapes(infos: Sequence[TensorInfo], model: onnx.ModelProto) -> None:
    """onnxruntime shows an input without a declared shape as a scalar."""
    declared = {
        graph_input.name
        for graph_input in model.graph.input
        if graph_input.type.tensor_type.HasField("shape")
    }
    if missing := [info.name for info in infos if info.name not in declared]:
        raise LoadError(
            f"the graph does not declare the shape of {listed(missing)}: export it with the shapes "
            "of its inputs"
        )


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
    return OnnxRuntime(session, model, options)
