"""Divides the recorded answer of a prediction among the features of its recorded input."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from predictions.evaluation.explanations.background import Background, background_of
from predictions.evaluation.explanations.errors import (
    ExplanationBusy,
    ExplanationFailed,
    ExplanationRefused,
    ExplanationTimedOut,
    ExplanationUnavailable,
)
from predictions.evaluation.explanations.features import Feature, Mixer, features_of, values_of
from predictions.evaluation.explanations.recorded import Number, recorded_numbers
from predictions.evaluation.explanations.scoring import Scorer
from predictions.evaluation.explanations.shapley import (
    ShapleyValues,
    additive_values,
    shapley_values,
)
from predictions.evaluation.explanations.verification import Part, verified_parts
from predictions.models import Prediction
from predictions.serving.answers import Answer
from predictions.serving.limits.deadlines import Deadline
from registry.loading import loader
from registry.loading.cache import LoadedModel
from registry.loading.errors import ArtifactMissing
from registry.runtimes.base import DeadlineExceeded, InferenceError, RuntimeUnavailable
from registry.runtimes.contributions import Explains, Link, explains_of
from registry.signatures.arrangement import Arrays, arrange
from registry.signatures.validation import InvalidInput

Method: TypeAlias = Literal["tree_shap", "linear", "exact_shapley", "sampled_shapley"]

MAX_FEATURES = 500
# Numbers in a response: features times classes.
MAX_CONTRIBUTIONS = 50_000

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each feature contributes to each number of an answer.

    The contributions of a part and its base add up to its margin, which `link` turns into the
    answer. `background` is what the base stands for.
    """

    prediction: Prediction
    method: Method
    link: Link
    background: Background
    features: list[Feature]
    values: list[object]
    parts: list[Part]


def explain(prediction: Prediction, deadline: Deadline | None = None) -> Explanation:
    """Explain a prediction, read with its version; one at a time in each process.

    Raises ExplanationRefused, ExplanationBusy, ExplanationFailed (or its subclasses), and what
    loading the model raises.
    """
    if prediction.status != Prediction.Status.SUCCEEDED:
        raise ExplanationRefused("The prediction failed, so there is no answer to explain.")
    with _alone():
        model = _load(prediction)
        try:
            return _explain(prediction, model, Scorer(model, deadline))
        except DeadlineExceeded as error:
            raise ExplanationTimedOut(f"The explanation took too long: {error}") from error
        except RuntimeUnavailable as error:
            raise ExplanationUnavailable(str(error)) from error
        except InferenceError as error:
            raise ExplanationFailed(f"The model cannot be explained: {error}") from error


@contextmanager
def _alone() -> Iterator[None]:
    if not _one_at_a_time.acquire(blocking=False):
        raise ExplanationBusy(
            "Another prediction is being explained in this process. Try again in a few seconds."
        )
    try:
        yield
    finally:
        _one_at_a_time.release()


def _load(prediction: Prediction) -> LoadedModel:
    version = prediction.model
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {version.pk} has no artifact to explain its answers with")
    model = loader.load_recorded(version)
    if model.masks is not None:
        raise ExplanationRefused(
            f"Inputs of model {version.pk} are masked: the log does not have the values that its "
            "answers came from."
        )
    return model


def _explain(prediction: Prediction, model: LoadedModel, scorer: Scorer) -> Explanation:
    row, features = _read_input(prediction, model)
    numbers = _read_answer(prediction, model)
    if len(features) * len(numbers) > MAX_CONTRIBUTIONS:
        raise ExplanationRefused(
            f"{len(features)} features times {len(numbers)} numbers of an answer are more than "
            f"{MAX_CONTRIBUTIONS} contributions."
        )
    explains = explains_of(model.runtime)
    if explains is not None and explains.method == "contributions":
        method: Method = "tree_shap"
        found, link, background = _of_library(row, scorer), explains.link, Background("training")
    else:
        background = background_of(prediction.model, model.signature, is_additive=bool(explains))
        method, link, found = _of_background(explains, features, row, background, numbers, scorer)
    return Explanation(
        prediction,
        method,
        link,
        background,
        features,
        values_of(row, features),
        verified_parts(found, link, numbers),
    )


def _read_input(prediction: Prediction, model: LoadedModel) -> tuple[Arrays, list[Feature]]:
    features = features_of(model.signature)
    if not features:
        raise ExplanationRefused(
            "The model takes a tensor without named features, such as an image. Only answers to "
            "rows of features can be explained."
        )
    try:
        return arrange(model.signature, [prediction.input_data]), features
    except InvalidInput as error:
        raise ExplanationRefused(f"The recorded input does not fit the model: {error}") from error


def _read_answer(prediction: Prediction, model: LoadedModel) -> list[Number]:
    try:
        numbers = recorded_numbers(model.signature, Answer.recorded(prediction))
    # An imported prediction may have any output.
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ExplanationRefused("The recorded answer is not one of this model's.") from error
    if not numbers:
        raise ExplanationRefused(
            "Only answers that are single numbers or classes can be explained."
        )
    return numbers


def _of_library(row: Arrays, scorer: Scorer) -> ShapleyValues:
    outputs = scorer.explain(row)
    return ShapleyValues(outputs["base"][0], outputs["contributions"][0])


def _of_background(
    explains: Explains | None,
    features: list[Feature],
    row: Arrays,
    background: Background,
    numbers: list[Number],
    scorer: Scorer,
) -> tuple[Method, Link, ShapleyValues]:
    if len(features) > MAX_FEATURES:
        raise ExplanationRefused(
            f"The model has {len(features)} features; at most {MAX_FEATURES} can be compared with "
            "a reference."
        )
    # Thousands of rows are scored now, without a query.
    loader.release_connection()
    mixer = Mixer(features, row, background.arrays)
    if explains is not None:
        found = additive_values(
            lambda masks, places: scorer.margins(mixer.mix(masks, places)),
            len(features),
            background.rows,
        )
        return "linear", explains.link, found
    if any(number.is_label_only for number in numbers):
        raise ExplanationRefused(
            "The model answers a class without probabilities, and its library does not explain "
            "it. Register a classifier with probabilities."
        )
    found = shapley_values(
        lambda masks, places: scorer.numbers(mixer.mix(masks, places)),
        len(features),
        background.rows,
        scorer.max_rows,
    )
    is_exact = found.standard_errors is None
    return "exact_shapley" if is_exact else "sampled_shapley", "identity", found
