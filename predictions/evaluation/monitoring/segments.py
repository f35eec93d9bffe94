"""Which segments a monitor asks for, and which of them have nothing to be compared with.

Their JSON is checked against the signatures of the model. A segment is compared with the same
segment of the reference, never with the whole reference: segments differ by nature, so that they
would raise alarms from their first window on.
"""

from collections.abc import Iterator, Mapping, Sequence

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.counting.segments import MAX_DISTINCT_NUMBERS, expand
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.references.tables import category
from predictions.models import Monitor, Reference
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.signatures.masking import feature_rules
from registry.signatures.signature import Signature, listed

MAX_SEGMENTS = 10
MAX_VALUES = 20
MAX_KEY_LENGTH = 100
MAX_VALUE_LENGTH = 200
MAX_NOTES = 20
KINDS = ("feature", "metadata", "arm")
EXAMPLE = '{"feature": "plan"}, {"metadata": "region", "values": ["EU", "US"]} or {"arm": true}'


class InvalidSegments(ValueError):
    """The segments are malformed or do not fit the model. The message is for the caller."""


def parse_segments(value: object) -> list[JSONObject]:
    """The segments as they are stored. Raises InvalidSegments with the position of the mistake."""
    if not isinstance(value, list):
        raise InvalidSegments(f"Must be a list of objects such as {EXAMPLE}.")
    if len(value) > MAX_SEGMENTS:
        raise InvalidSegments(f"The limit is {MAX_SEGMENTS} segments, not {len(value)}.")
    segments = [_parse(item, f"[{i}]") for i, item in enumerate(value)]
    names = [_name(segment) for segment in segments]
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InvalidSegments(f"{repeated[0]} is listed twice.")
    return segments


def require_known_features(segments: Sequence[JSONObject], model: str) -> None:
    """Raise InvalidSegments for a feature that no version of the model has, or that is masked."""
    wanted = {str(segment["feature"]) for segment in segments if "feature" in segment}
    if not wanted:
        return
    versions = ModelVersion.objects.filter(name=model, signature__isnull=False)
    known: set[str] = set()
    masked: set[str] = set()
    for document in versions.values_list("signature", flat=True).iterator():
        of_version, masked_of_version = _features(Signature.from_json(document))
        known |= of_version
        masked |= masked_of_version
    if hidden := sorted(wanted & masked):
        raise InvalidSegments(
            f"{listed(hidden)} is sensitive: the log does not have its values, so that they cannot"
            " be compared."
        )
    if unknown := sorted(wanted - known):
        raise InvalidSegments(
            f"No version of model {model} has a feature {listed(unknown)} with one value per row."
        )


def _features(signature: Signature) -> tuple[set[str], set[str]]:
    """The names of the features with one value per row, and of the sensitive ones among them."""
    named = {
        key
        for tensor in signature.inputs
        if tensor.is_scalar or tensor.features
        for key in tensor.keys
    }
    masked = {name for tensor in signature.inputs for name in feature_rules(tensor)}
    return named - masked, named & masked


def _parse(item: object, path: str) -> JSONObject:
    if not isinstance(item, Mapping):
        raise InvalidSegments(f"{path}: must be an object such as {EXAMPLE}.")
    kinds = [kind for kind in KINDS if kind in item]
    if len(kinds) != 1:
        raise InvalidSegments(f"{path}: must have exactly one of {', '.join(KINDS)}.")
    kind = kinds[0]
    if unknown := sorted(str(key) for key in item.keys() - {kind, "values"}):
        raise InvalidSegments(f"{path}: unknown {listed(unknown)}.")
    if kind == "arm":
        return _parse_arm(item, path)
    key = item[kind]
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH or "\0" in key:
        raise InvalidSegments(f"{path}.{kind}: must be a name of 1 to {MAX_KEY_LENGTH} characters.")
    if "values" in item:
        return {kind: key, "values": _parse_values(item["values"], f"{path}.values")}
    if kind == "metadata":
        # References keep no metadata, from which the values could come.
        raise InvalidSegments(f"{path}.values: is required with metadata.")
    return {kind: key}


def _parse_arm(item: Mapping[object, object], path: str) -> JSONObject:
    if item["arm"] is not True or len(item) > 1:
        raise InvalidSegments(f'{path}: must be {{"arm": true}}, without values.')
    return {"arm": True}


def _parse_values(values: object, path: str) -> list[object]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES:
        raise InvalidSegments(f"{path}: must be a list of 1 to {MAX_VALUES} values.")
    for value in values:
        if not isinstance(value, str | int | float) or len(str(value)) > MAX_VALUE_LENGTH:
            raise InvalidSegments(
                f"{path}: each must be a text of at most {MAX_VALUE_LENGTH} characters, a number,"
                " true or false."
            )
        if isinstance(value, str) and "\0" in value:
            raise InvalidSegments(f"{path}: must not contain null characters.")
    # 1 and "1" are one segment, 1 and true are two.
    texts = [category(value) for value in values]
    if len(set(texts)) < len(texts):
        raise InvalidSegments(f"{path}: must not list a value twice.")
    return list(values)


def _name(segment: JSONObject) -> str:
    return next(
        f"{kind} {segment[kind]}" if kind != "arm" else kind for kind in KINDS if kind in segment
    )


def notes_of(monitor: Monitor) -> list[str]:
    """What of the monitor gets no verdict for now, in words: at most MAX_NOTES."""
    model = monitor.registered_model
    references = Reference.objects.in_force().filter(model__name=model.name, model__is_active=True)
    notes = [
        f"Version {reference.model.version}: {note}"
        for reference in references.select_related("model").defer("profile", "background")
        for note in _notes_of(monitor, profile_of(reference.pk))
    ]
    if not references.exists():
        notes = [f"No version of model {model.name} has a reference: nothing is reported"]
    if len(notes) > MAX_NOTES:
        notes[MAX_NOTES - 1 :] = [f"{len(notes) - MAX_NOTES + 1} more segments are not compared"]
    return notes


def _notes_of(monitor: Monitor, profile: Profile) -> Iterator[str]:
    for definition in monitor.segments:
        segments = expand(definition, profile)
        if not segments:
            yield _without_values(definition)
        for segment in segments:
            if profile.reference_counts(segment.text) is None:
                yield f"{segment.text} is not compared. {profile.why_not_compared(segment.text)}"


def _without_values(definition: JSONObject) -> str:
    return (
        f"feature {definition['feature']} has no segments: the reference has neither categories of"
        f" it nor at most {MAX_DISTINCT_NUMBERS} different numbers. List its values"
    )
