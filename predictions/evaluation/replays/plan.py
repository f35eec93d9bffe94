"""The plan of a replay: its two versions, and which recorded predictions it scores again."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from predictions.models import Prediction, Replay
from registry.access import rights
from registry.access.accessor import SYSTEM, Accessor
from registry.database import clock
from registry.models import ModelNotFound, ModelVersion
from registry.signatures.masking import feature_rules
from registry.signatures.signature import Signature

CHUNK_ROWS = 2000
# Wide rows make smaller chunks: a parsed JSON value takes a few hundred bytes.
CHUNK_VALUES = 500_000
# The assumed length of a variable dimension.
ASSUMED_LENGTH = 1000

# The ID of a version, or its name and version.
VersionKey: TypeAlias = int | tuple[str, str]


class InputsMasked(Exception):
    """The log does not have the inputs as they were scored; the message is for the caller."""


class RecordedRow(NamedTuple):
    """What a replay reads from a prediction; the names are columns."""

    id: int
    created_at: datetime
    input_data: object
    prediction: float | None
    output: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parameters of a replay; `Replay` documents which rows they select."""

    from_version: ModelVersion
    to_version: ModelVersion
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    tolerance: float | None = None
    name: str = ""

    def draft(self, created_by: User | None = None) -> Replay:
        """An unsaved replay. Predictions made later than now do not belong to it."""
        return Replay(
            created_by=created_by,
            created_at=clock.now(),
            **{name: getattr(self, name) for name in self.__slots__},
        )

    def find_unfinished(self) -> Replay | None:
        """The newest replay with these parameters that was started and not completed."""
        parameters = {name: getattr(self, name) for name in self.__slots__}
        # In SQL nothing equals NULL.
        same = Q(
            **{
                f"{name}__isnull" if value is None else name: True if value is None else value
                for name, value in parameters.items()
            }
        )
        unfinished = Replay.objects.filter(same).exclude(status=Replay.Status.COMPLETED)
        return unfinished.with_versions().newest_first().first()


def masked_features(version: ModelVersion) -> list[str]:
    """The features whose recorded values are not what the version scored."""
    if version.signature is None:
        return []
    inputs = Signature.from_json(version.signature).inputs
    return [name for tensor in inputs for name in feature_rules(tensor)]


def require_replayable(plan: Plan) -> None:
    """Raise InputsMasked if the recorded inputs lack what the version scored."""
    if masked := masked_features(plan.from_version):
        raise InputsMasked(
            f"The recorded inputs of {plan.from_version} are masked ({', '.join(masked)}), so they"
            " cannot be replayed"
        )


def find_version(key: VersionKey, accessor: Accessor = SYSTEM) -> ModelVersion:
    """The version with this key, active or not; raises ModelNotFound, also if the accessor may not
    know of it.
    """
    versions = rights.visible(ModelVersion.objects.all(), accessor)
    if isinstance(key, int):
        return versions.find(key)
    name, version = key
    row = versions.filter(name=name, version=version).first()
    if row is None:
        raise ModelNotFound(f"Model {name}:{version} not found")
    return row


def count_rows(replay: Replay, *, at_most: int | None = None) -> int:
    """How many rows the replay has, within its limit. Counting stops at `at_most`."""
    rows = replayed_rows(replay)
    if replay.limit is not None:
        rows = rows[: replay.limit]
    return (rows if at_most is None else rows[:at_most]).count()


def replayed_rows(replay: Replay) -> QuerySet[Prediction]:
    """The predictions that the replay replays, newest first, without its limit."""
    before = replay.created_at if replay.until is None else min(replay.until, replay.created_at)
    # An index yields the rows in this order. It includes failed ones, which are few.
    rows = Prediction.objects.filter(
        model_id=replay.from_version_id,
        status=Prediction.Status.SUCCEEDED,
        created_at__lt=before,
    )
    if masked := _masked_versions(replay.from_version):
        # A shadow's row is masked by the version whose input it copies, too.
        rows = rows.exclude(primary__model__in=masked)
    if replay.since is not None:
        rows = rows.filter(created_at__gte=replay.since)
    return rows.newest_first()


def _masked_versions(version: ModelVersion) -> list[int]:
    """The versions of the same name with masked inputs."""
    others = ModelVersion.objects.filter(name=version.name, signature__isnull=False)
    return [other.pk for other in others.only("pk", "signature") if masked_features(other)]


def next_chunk(replay: Replay, size: int) -> list[RecordedRow]:
    """The next rows after the replay's cursor, at most `size`; none at the end."""
    if replay.limit is not None:
        size = min(size, replay.limit - replay.rows_done)
    rows = replayed_rows(replay)
    if replay.cursor_at is not None:
        # The first condition follows from the second; it is the one an index range can begin with.
        rows = rows.filter(
            Q(created_at__lte=replay.cursor_at),
            Q(created_at__lt=replay.cursor_at) | Q(id__lt=replay.cursor_id),
        )
    return [RecordedRow(*row) for row in rows.values_list(*RecordedRow._fields)[:size]]


def chunk_size(signature: Signature) -> int:
    """How many rows make a chunk for inputs of this signature."""
    row_values = sum(
        math.prod(ASSUMED_LENGTH if length == -1 else length for length in tensor.row_shape)
        for tensor in signature.inputs
    )
    return max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(1, row_values)))
