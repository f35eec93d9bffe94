"""What is counted of each version: its reference, and the segments of its monitors."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from predictions.evaluation.counting.segments import Segment, has_metadata, segments_of
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import INPUT_PREFIX
from predictions.evaluation.references.building import compared_task
from predictions.evaluation.references.features import WORDS, features_of
from predictions.evaluation.references.tables import TableReader
from predictions.models import Reference
from registry.models import ModelVersion
from registry.signatures.signature import Signature

# Of a profile with many segments and classes, the arrays may be 40 MB.
MAX_CACHED_BYTES = 256 * 2**20
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
    return _PROFILES.get(reference_id, rows.get(pk=reference_id))


class _Profiles:
    """The profiles that were used last, as many as there is room for, but always the newest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # By the digest as well: an ID is given out again if its transaction was rolled back.
        self._profiles: OrderedDict[tuple[int, str], Profile] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, reference_id: int, digest: str) -> Profile:
        key = reference_id, digest
        with self._lock:
            if (known := self._profiles.get(key)) is not None:
                self._profiles.move_to_end(key)
                return known
        # Two threads may both parse it: others need not wait for that.
        document = Reference.objects.values_list("profile", flat=True).get(pk=reference_id)
        profile = Profile.from_json(document)
        with self._lock:
            if key not in self._profiles:
                self._profiles[key] = profile
                self._size_bytes += profile.size_bytes
            while self._size_bytes > self._max_bytes and len(self._profiles) > 1:
                _, oldest = self._profiles.popitem(last=False)
                self._size_bytes -= oldest.size_bytes
        return profile


_PROFILES = _Profiles(MAX_CACHED_BYTES)


def texts_of(profile: Profile) -> set[str]:
    """The features that the profile compares as texts."""
    return {
        key.removeprefix(INPUT_PREFIX).removesuffix(WORDS)
        for key in profile.variables
        if key.endswith(WORDS)
    }
