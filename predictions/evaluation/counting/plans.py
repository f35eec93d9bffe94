"""What is counted of each version: its reference, and the segments of its monitors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from predictions.evaluation.counting.segments import Segment, has_metadata, segments_of
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import INPUT_PREFIX
from predictions.evaluation.references.building import compared_task
from predictions.evaluation.references.features import WORDS, features_of
from predictions.evaluation.references.tables import TableReader
from predictions.models import Reference
from registry.models import ModelVersion
from registry.signatures.signature import Signature

CACHED_PROFILES = 32
# Of every version.
COUNTED_FIELDS = (
    "id",
    "created_at",
    "status",
    "prediction",
    "confidence",
    "latency_ms",
    "subject",
    "arm",
    "input_data",
    "flags",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of a version are counted."""

    version_id: int
    reference_id: int
    profile: Profile
    reader: TableReader
    segments: Sequence[Segment]

    @property
    def needs_outputs(self) -> bool:
        return self.profile.calibrator is not None

    @property
    def needs_metadata(self) -> bool:
        return has_metadata(self.segments)

    @property
    def fields(self) -> Sequence[str]:
        """The columns of the log that are counted."""
        outputs = ["output"] if self.needs_outputs else []
        metadata = ["metadata"] if self.needs_metadata else []
        return [*COUNTED_FIELDS, *outputs, *metadata]


def plan_of(version_id: int) -> Plan | None:
    """None if the version has no reference."""
    reference_id = (
        Reference.objects.filter(model=version_id).order_by("-id").values_list("pk", flat=True)
    ).first()
    if reference_id is None:
        return None
    version = ModelVersion.objects.get(pk=version_id)
    profile = profile_of(reference_id)
    signature = Signature.from_json(version.signature)
    features = features_of(signature, texts_of(profile))
    return Plan(
        version_id,
        reference_id,
        profile,
        TableReader(signature, features, compared_task(version)),
        segments_of(version.name, profile),
    )


def profile_of(reference_id: int) -> Profile:
    """The profile of a reference, which never changes, parsed once in a process."""
    rows = Reference.objects.values_list("digest", flat=True)
    return _parsed(reference_id, rows.get(pk=reference_id))


@lru_cache(CACHED_PROFILES)
def _parsed(reference_id: int, digest: str) -> Profile:
    # By the digest as well: an ID is given out again if its transaction was rolled back.
    document = Reference.objects.values_list("profile", flat=True).get(pk=reference_id)
    return Profile.from_json(document)


def texts_of(profile: Profile) -> set[str]:
    """The features that the profile compares as texts."""
    return {
        key.removeprefix(INPUT_PREFIX).removesuffix(WORDS)
        for key in profile.variables
        if key.endswith(WORDS)
    }
