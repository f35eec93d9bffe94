"""Which segments of a monitor have nothing to be compared with, and what can be done about it.

A segment is compared with the same segment of the reference alone. The whole reference is no
measure of it: segments differ by nature, and one that does would be an alarm from its first window
on.
"""

from collections.abc import Iterator

from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.counting.segments import MAX_DISTINCT_NUMBERS, expand
from predictions.evaluation.drift.profiles import Profile
from predictions.models import Monitor, Reference
from registry.exact_json.values import JSONObject

MAX_NOTES = 20


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
