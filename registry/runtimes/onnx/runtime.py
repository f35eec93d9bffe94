"""ONNX models, run by onnxruntime on the CPU. No Django here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Read at import only: without it, onnxruntime reports home and writes below the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from registry.runtimes.base import (
    InferenceError,
    LoadError,
    LoadOptions,
    Outputs,
)
from registry.runtimes.onnx.graph import (
    classes_of,
    read_model,
    takes_missing_values,
)
from registry.signatures.signature import (
    DTYPES,
    ClassLabel,
    Input,
    Kind,
    Output,
    Signature,
    label_datatype,
)

_DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    **{f"tensor({name.lower()})": name for name in DTYPES if "INT" in name},
}
_MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")
_PROBE_ROWS = 2
_FATAL = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """One output of the graph: what it is called, its type, and the shape its rows have."""

    name: str
    kind: str
    row_shape: tuple[int, ...]

    @property
    def is_map(self) -> bool:
        return self.kind in _MAPS

    @property
    def is_single(self) -> bool:
        return self.row_shape in ((), (1,))

    @property
    def is_float(self) -> bool:
        return self.kind in ("tensor(float)", "tensor(double)", "tensor(float16)")


class OnnxRuntime:
    """A session with one thread; a graph of a fixed batch size is run in batches of that size."""

    def __init__(self, session: Any, model: Any) -> None:
        producer = model.producer_name or "onnxruntime"
        version = model.producer_version if model.producer_name else onnxruntime.__version__
        self.libraries: Mapping[str, str] = {producer: version or "unknown"}
        self._session = session
        self._batch = _batch_size(session)
        inputs = _inputs(session, takes_missing_values(model))
        answers = self._answers(Signature(inputs).sample())
        self.signature = Signature(inputs, _outputs(answers, model))
        self._kept = [(a, o) for a, o in zip(answers, self.signature.outputs, strict=True)]

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Score n rows, one array for each input of the graph; see Runtime.predict."""
        try:
            raw = self._run(inputs)
            return {
                output.name: _settled(answer, output, array)
                for (answer, output), array in zip(self._kept, raw, strict=True)
            }
        # onnxruntime's exceptions share no base below Exception.
        except Exception as error:
            raise InferenceError(str(error)) from error

    def _run(self, inputs: Mapping[str, np.ndarray]) -> list[Any]:
        """Each output of the graph for all rows: an array, or a list of maps."""
        feeds = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        if self._batch is None:
            answers: list[Any] = self._session.run(None, feeds)
            return answers
        n_rows = len(next(iter(feeds.values())))
        parts = []
        for start in range(0, n_rows, self._batch):
            # The last batch is filled up with its last row, whose answers are cut off again.
            places = np.minimum(np.arange(start, start + self._batch), n_rows - 1)
            parts.append(self._session.run(None, {name: a[places] for name, a in feeds.items()}))
        return [
            [row for part in column for row in part][:n_rows]
            if isinstance(column[0], list)
            else np.concatenate(column)[:n_rows]
            for column in zip(*parts, strict=True)
        ]

    def _answers(self, row: Mapping[str, np.ndarray]) -> list[_Answer]:
        """The outputs, with shapes measured on made-up rows where the graph leaves them open."""
        declared = self._session.get_outputs()
        try:
            rows = {name: np.repeat(array, _PROBE_ROWS, axis=0) for name, array in row.items()}
            measured: Sequence[Any] = self._run(rows)
        # Not every graph takes a row of ones; what it declares must do, then.
        except Exception:
            measured = [None] * len(declared)
        return [_answer(told, array) for told, array in zip(declared, measured, strict=True)]


def load(path: Path, options: LoadOptions) -> OnnxRuntime:
    """Load an `.onnx` file; raises LoadError, which names external data and custom operators."""
    model, content = read_model(path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL
    # Else a file in onnxruntime's own format would pass by the checks above.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(
            content, settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise LoadError(f"onnxruntime cannot load the model: {error}") from error
    return OnnxRuntime(session, model)


def _batch_size(session: Any) -> int | None:
    sizes = {told.shape[0] for told in session.get_inputs() if told.shape}
    fixed = {size for size in sizes if isinstance(size, int)}
    if len(fixed) > 1:
        raise LoadError(f"the inputs have different fixed batch sizes: {sorted(fixed)}")
    return next(iter(fixed), None)


def _inputs(session: Any, takes_missing: bool) -> tuple[Input, ...]:
    inputs = []
    for told in session.get_inputs():
        datatype = _DATATYPES.get(told.type)
        if datatype is None:
            raise LoadError(f"input '{told.name}' is a {told.type}, which mlapi does not send")
        if not told.shape:
            raise LoadError(f"input '{told.name}' has no rows: its first dimension must be a batch")
        nullable = takes_missing and DTYPES[datatype].kind == "f"
        inputs.append(Input(told.name, datatype, _shape(told.shape), (), nullable))
    if not inputs:
        raise LoadError("the graph takes no input")
    return tuple(inputs)


def _shape(told: Sequence[Any]) -> tuple[int, ...]:
    return (-1, *(size if isinstance(size, int) and size > 0 else -1 for size in told[1:]))


def _answer(told: Any, measured: Any) -> _Answer:
    if told.type in _MAPS:
        return _Answer(told.name, told.type, ())
    if told.type not in _DATATYPES:
        raise LoadError(f"output '{told.name}' is a {told.type}, which mlapi does not read")
    row_shape = _shape(told.shape)[1:] if told.shape else ()
    if measured is not None:
        shape = np.shape(measured)
        if not shape or shape[0] != _PROBE_ROWS:
            raise LoadError(
                f"output '{told.name}' has the shape {list(shape)} for {_PROBE_ROWS} rows: a model "
                "must answer each row for itself"
            )
        row_shape = shape[1:]
    return _Answer(told.name, told.type, row_shape)


# -- outputs


def _outputs(answers: Sequence[_Answer], model: Any) -> tuple[Output, ...]:
    """Labels, each with the probabilities that follow it, and values."""
    outputs: list[Output] = []
    waiting: tuple[ClassLabel, ...] = ()
    for answer in answers:
        classes: tuple[ClassLabel, ...] = ()
        kind: Kind = "value"
        if answer.is_single and answer.kind in ("tensor(int64)", "tensor(int32)", "tensor(string)"):
            classes = _label_classes(answer, answers, model)
            kind = "label" if classes else "value"
            waiting = classes
        elif answer.is_map or (waiting and answer.is_float and answer.row_shape == (len(waiting),)):
            classes = waiting or classes_of(model, answer.name)
            kind, waiting = "probabilities", ()
        outputs.append(_output(answer, kind, classes))
    return tuple(outputs)


def _output(answer: _Answer, kind: Kind, classes: tuple[ClassLabel, ...]) -> Output:
    if kind == "label":
        return Output(answer.name, label_datatype(classes), (-1,), kind, classes)
    datatype = "FP32" if answer.is_map else _DATATYPES[answer.kind]
    if kind == "probabilities":
        return Output(answer.name, datatype, (-1, len(classes)), kind, classes)
    return Output(answer.name, datatype, (-1,) if answer.is_single else (-1, *answer.row_shape))


def _label_classes(
    answer: _Answer, answers: Sequence[_Answer], model: Any
) -> tuple[ClassLabel, ...]:
    """The classes of a label output, () for a number that is none."""
    following = answers[answers.index(answer) + 1 :]
    scores = next(
        (a for a in following if a.is_map or (a.is_float and len(a.row_shape) == 1)), None
    )
    classes = classes_of(model, answer.name)
    if scores is not None and (not classes or scores.is_map):
        classes = classes_of(model, scores.name) or classes
    is_text = answer.kind == "tensor(string)"
    if classes and isinstance(classes[0], str) == is_text:
        return classes
    if is_text:
        raise LoadError(
            f"the file does not tell the classes of '{answer.name}': export it with the option "
            "zipmap=False, or with integer labels and name the classes in the signature"
        )
    if scores is not None and not scores.is_map and scores.row_shape[0] > 1:
        return tuple(range(scores.row_shape[0]))
    return ()


def _settled(answer: _Answer, output: Output, raw: Any) -> np.ndarray:
    """One output of the graph as the signature describes it."""
    if answer.is_map:
        return np.array([[row[label] for label in output.classes] for row in raw], np.float32)
    array = np.asarray(raw)
    if answer.is_single:
        array = array.reshape(len(array))
    return _indices(array, output.classes) if output.kind == "label" else array


def _indices(labels: np.ndarray, classes: tuple[ClassLabel, ...]) -> np.ndarray:
    places = {label: place for place, label in enumerate(classes)}
    try:
        return np.array([places[label] for label in labels.tolist()], dtype=np.int64)
    except KeyError as error:
        raise ValueError(f"answered a class that it does not have: {error}") from error
