"""The small models that the onnx package ships, with their inputs and what onnxruntime answers; and
a process that proves many of them.
"""

import multiprocessing
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.case.model import collect_testcases as collect_models
from onnx.backend.test.case.node import collect_testcases as collect_nodes
from onnx.backend.test.loader import load_model_tests

from registry.artifacts import proof, sandbox
from registry.artifacts.errors import ArtifactRejected
from registry.signatures.signature import DATATYPES

_LOG_FATAL = 4


@dataclass
class Case:
    """`inputs` are arrays, or for a type that no request can hold a list, dict or None."""

    name: str
    model: onnx.ModelProto
    inputs: Sequence[object]

    @property
    def content(self) -> bytes:
        return bytes(self.model.SerializeToString())

    def own_answer(self) -> dict[str, np.ndarray] | None:
        """What onnxruntime answers; None if it cannot run the model on these inputs."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_FATAL
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        try:
            session = onnxruntime.InferenceSession(self.content, options, providers=providers)
            feeds = dict(zip(self._input_names(), self.inputs, strict=False))
            outputs = session.run(None, feeds)
            names = [output.name for output in session.get_outputs()]
            return {n: np.asarray(value) for n, value in zip(names, outputs, strict=True)}
        # The exceptions of onnxruntime have no common base class below Exception.
        except Exception:
            return None

    def tensors(self) -> list[dict[str, object]] | None:
        """The inputs of a request to /v2; None if its datatypes cannot hold them."""
        tensors: list[dict[str, object]] = []
        for name, value in zip(self._input_names(), self.inputs, strict=False):
            if not isinstance(value, np.ndarray) or value.dtype not in DATATYPES:
                return None
            shape = list(value.shape) or [1]
            data = [None if item != item else item for item in value.reshape(-1).tolist()]
            datatype = DATATYPES[value.dtype]
            tensors.append({"name": name, "datatype": datatype, "shape": shape, "data": data})
        return tensors

    def _input_names(self) -> list[str]:
        return [graph_input.name for graph_input in self.model.graph.input]


def cases() -> Iterator[Case]:
    with warnings.catch_warnings():
        # Some generators divide by zero on purpose.
        warnings.simplefilter("ignore")
        generated = [*collect_nodes(None), *collect_models()]
    for case in generated:
        if case.model is not None and case.data_sets:
            inputs, _ = case.data_sets[0]
            yield Case(case.name, case.model, [_array(value) for value in inputs])
    for kind in ("simple", "pytorch-operator", "pytorch-converted"):
        for case in load_model_tests(kind=kind):
            folder = Path(str(case.model_dir))
            yield Case(case.name, onnx.load(folder / "model.onnx"), _stored_inputs(folder))


def _stored_inputs(folder: Path) -> list[object]:
    files = (folder / "test_data_set_0").glob("input_*.pb")
    by_number = sorted(files, key=lambda path: int(path.stem.removeprefix("input_")))
    return [_array(onnx.TensorProto.FromString(path.read_bytes())) for path in by_number]


def _array(value: object) -> object:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, list | dict | None) else np.asarray(value)


class ProvingProcess:
    """`sandbox.run` in one process for many files: a new one starts only after a crash.

    It is not a fork, which would inherit the locks of onnxruntime's threads.
    """

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None

    def run(self, module: str, request: Mapping[str, object], **limits: object) -> object:
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        self._connection.send(request)
        try:
            reply = self._connection.recv()
        except EOFError:
            self.stop()
            raise ArtifactRejected("The file crashed the library that reads it.") from None
        if "rejected" in reply:
            raise ArtifactRejected(reply["rejected"][1], field=reply["rejected"][0])
        return reply

    def stop(self) -> None:
        if self._process is not None:
            self._connection.close()
            self._process.join()
            self._process = None


def _serve(connection: "Connection[Any, Any]") -> None:
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send(sandbox._reply(proof._prove_model, request))
