"""Which outputs an infer request gets, under which names. No ORM."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from predictions.serving.answers import targets_of
from registry.open_inference.binary import TensorError
from registry.open_inference.content_types import encode_base64, require_texts
from registry.open_inference.messages import RequestedOutput
from registry.open_inference.tensors import Tensor
from registry.signatures.signature import Output, Signature, listed

# MLServer's runtimes for scikit-learn, XGBoost and LightGBM name outputs by the library's methods.
PREDICT, PROBABILITIES, TRANSFORM = "predict", "predict_proba", "transform"


# Not frozen: that doubles the time to create one.
@dataclass(slots=True)
class Selection:
    """An output of the model as the response has it: its name, and how its values are sent."""

    output: Output
    name: str
    is_binary: bool
    content_type: str | None = None

    def presented(self, tensor: Tensor) -> Tensor:
        """The tensor of this output under the requested name and in the requested content type."""
        if tensor.name == self.name and self.content_type is None:
            return tensor
        values = encode_base64(tensor.values) if self.content_type == "base64" else tensor.values
        return replace(tensor, name=self.name, values=values, content_type=self.content_type)


def select_outputs(
    requested: Sequence[RequestedOutput],
    signature: Signature,
    *,
    framework: str,
    is_binary: bool,
) -> list[Selection]:
    """The requested outputs in the order of the request; all outputs if none is requested.

    `is_binary` is the default of the request. Raises TensorError.
    """
    if not requested:
        return [Selection(output, output.name, is_binary) for output in signature.outputs]
    by_name = {output.name: output for output in signature.outputs}
    if unknown := [item.name for item in requested if item.name not in by_name]:
        by_name = by_name | _methods(unknown, signature, framework)
    selected = [
        Selection(
            by_name[item.name],
            item.name,
            is_binary if item.is_binary is None else item.is_binary,
            item.content_type,
        )
        for item in requested
    ]
    for item in selected:
        require_texts(item.content_type, item.output.datatype, item.name)
    return selected


def _methods(names: Sequence[str], signature: Signature, framework: str) -> dict[str, Output]:
    """The outputs that these names of MLServer mean; raises TensorError for any other name, and if
    several outputs could be meant.
    """
    known = listed([output.name for output in signature.outputs])
    if unknown := [name for name in names if name not in (PREDICT, PROBABILITIES, TRANSFORM)]:
        raise TensorError(f"{listed(unknown)} is not an output of this model; it has {known}")
    targets = targets_of(signature.outputs)
    if len(targets) > 1:
        raise TensorError(f"{listed(names)} could be several outputs of this model; it has {known}")
    first, last = targets[0][0], targets[0][-1]
    # The other outputs of scikit-learn are one value per row.
    is_transformer = framework == "sklearn" and first.kind == "value" and len(first.shape) == 2
    problems = {
        PREDICT: is_transformer or first.kind == "probabilities",
        PROBABILITIES: last.kind != "probabilities",
        TRANSFORM: not is_transformer,
    }
    if missing := [name for name in names if problems[name]]:
        raise TensorError(f"this model does not answer {listed(missing)}; it has {known}")
    if PREDICT in names and framework == "lightgbm" and first.kind == "label":
        raise TensorError(
            f"'{PREDICT}' is the label in scikit-learn but the probabilities in LightGBM; ask for"
            f" one of the outputs by its name, {known}"
        )
    return {PREDICT: first, PROBABILITIES: last, TRANSFORM: first}
