"""The `predictions` of a response, in the form that MLflow gives them."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from predictions.serving.answers import Answer, output_values, targets_of
from registry.exact_json.values import JSONObject
from registry.signatures.signature import Output, Signature

Style: TypeAlias = Literal["predictions", "booster", "records", "columns"]
"""The form of `predictions`: a label or value per row; what a Booster of XGBoost or LightGBM
returns, which are probabilities; one object per row, with all outputs by name; or one list per
output, by name.
"""


def style_of(origin: Mapping[str, object], *, is_frame: bool) -> Style:
    """The form in which MLflow answers for a model; `origin` is the content of the MLflow tag."""
    if origin.get("flavor") == "onnx":
        return "records" if is_frame else "columns"
    is_booster = str(origin.get("model_class", "")).endswith(".Booster")
    return "booster" if is_booster else "predictions"


def predictions_of(answers: Sequence[Answer], signature: Signature, style: Style) -> object:
    """The `predictions` of a response; for several targets, each row is a list of them."""
    targets = targets_of(signature.outputs)
    if style in ("records", "columns"):
        records = [_by_output(answer, targets) for answer in answers]
        if style == "records":
            return records
        return {output.name: [row[output.name] for row in records] for output in signature.outputs}
    rows = [
        [
            _prediction(target, output_values(answer, target, len(targets)), style == "booster")
            for target in targets
        ]
        for answer in answers
    ]
    return [row[0] for row in rows] if len(targets) == 1 else rows


def _by_output(answer: Answer, targets: Sequence[Sequence[Output]]) -> JSONObject:
    return {
        output.name: value
        for target in targets
        for output, value in zip(target, output_values(answer, target, len(targets)), strict=True)
    }


def _prediction(target: Sequence[Output], values: Sequence[object], is_booster: bool) -> object:
    if is_booster and target[-1].kind == "probabilities":
        probabilities = values[-1]
        assert isinstance(probabilities, list)
        # For two classes, a Booster returns the probability of the second.
        return probabilities[1] if len(probabilities) == 2 else probabilities
    return values[0]
