"""The promotion gate: a completed replay whose answers agree often enough.

`predictions/apps.py` registers it with the registry.
"""

from collections.abc import Mapping

from predictions.models import Replay
from registry.exact_json.values import JSONObject
from registry.pagination import MAX_ID
from registry.signatures.validation import join_messages

FIELDS = ("replay", "min_agreement")
SHOWN_FIGURES = (
    "rows",
    "compared",
    "incomparable",
    "refused",
    "failed",
    "agreed",
    "agreement",
    "agreement_interval",
)


class InvalidRequirement(ValueError):
    """The requirement of a promotion is malformed; `errors` maps paths to messages."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = dict(errors)
        super().__init__(
            join_messages(f"{path}: {messages[0]}" for path, messages in self.errors.items())
        )


class PromotionRefused(Exception):
    """The required replay does not support the promotion; `extensions` holds its figures."""

    def __init__(self, message: str, figures: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.extensions = {"figures": dict(figures)} if figures else {}


def check(from_version_id: int | None, to_version_id: int, require: object) -> None:
    """Raise unless a completed replay from the one version to the other agrees often enough.

    `require` is `{"replay": id, "min_agreement": share}`. If `from_version_id` is None, there is no
    live version to compare with, and the replay may start from any version. Raises
    InvalidRequirement or PromotionRefused.
    """
    replay_id, min_agreement = _parse(require)
    replay = Replay.objects.with_versions().filter(pk=replay_id).first()
    if replay is None:
        raise PromotionRefused(f"Replay {replay_id} not found")
    if replay.to_version_id != to_version_id:
        raise PromotionRefused(
            f"Replay {replay_id} tested {replay.to_version}, not the version to promote"
        )
    if from_version_id is not None and replay.from_version_id != from_version_id:
        raise PromotionRefused(
            f"Replay {replay_id} compared with {replay.from_version}, which is not live"
        )
    if replay.report is None:
        raise PromotionRefused(
            f"Replay {replay_id} is not completed: {replay.rows_done} of"
            f" {replay.rows_expected} rows, {replay.status}"
        )
    _check_agreement(replay, replay.report, min_agreement)


def _check_agreement(replay: Replay, report: JSONObject, min_agreement: float) -> None:
    agreement, rows = report["agreement"], report["rows"]
    figures = {
        **{name: report[name] for name in SHOWN_FIGURES},
        "replay": replay.pk,
        "min_agreement": min_agreement,
    }
    if not rows:
        raise PromotionRefused(f"Replay {replay.pk} had no rows to compare", figures)
    if agreement < min_agreement:
        raise PromotionRefused(
            f"Replay {replay.pk} agrees on {report['agreed']} of {rows} rows: the agreement is"
            f" {agreement:.6g}, and at least {min_agreement:.6g} is required",
            figures,
        )


def _parse(require: object) -> tuple[int, float]:
    if not isinstance(require, Mapping):
        example = '{"replay": 1, "min_agreement": 0.98}'
        raise InvalidRequirement({"require": [f"Must be an object, such as {example}."]})
    errors = {
        f"require.{str(key)[:100]}": ["Unknown field."] for key in require if key not in FIELDS
    }
    replay_id, min_agreement = require.get("replay"), require.get("min_agreement")
    if type(replay_id) is not int or not 0 < replay_id <= MAX_ID:
        errors["require.replay"] = ["Must be the ID of a replay."]
    if (
        isinstance(min_agreement, bool)
        or not isinstance(min_agreement, int | float)
        or not 0 <= min_agreement <= 1
    ):
        errors["require.min_agreement"] = ["Must be a number from 0 to 1."]
    if errors:
        raise InvalidRequirement(errors)
    return int(replay_id or 0), float(min_agreement or 0)
