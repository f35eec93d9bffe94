"""The promotion gate: a replay must agree. predictions/apps.py registers it with the registry."""

from collections.abc import Mapping
from typing import Any

from predictions.evaluation.outcomes.reports import MAX_ID
from predictions.models import Replay

KNOWN = ("replay", "min_agreement")


class InvalidRequirement(ValueError):
    """What a promotion demands makes no sense; `errors` maps paths to messages."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{path}: {said[0]}" for path, said in self.errors.items()))


class PromotionRefused(Exception):
    """The demanded replay does not speak for the promotion; `extensions` has its figures."""

    def __init__(self, message: str, figures: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.extensions = {"figures": dict(figures)} if figures else {}


def check(from_version_id: int | None, to_version_id: int, require: Mapping[str, Any]) -> None:
    """Raise unless a completed replay from the one version to the other agrees often enough.

    `require` is `{"replay": id, "min_agreement": share}`. Where `from_version_id` is None, nothing
    is live to compare with, and the replay may be of any version. Raises InvalidRequirement or
    PromotionRefused.
    """
    replay_id, least = _read(require)
    replay = Replay.objects.with_versions().filter(pk=replay_id).first()
    if replay is None:
        raise PromotionRefused(f"Replay {replay_id} not found")
    if replay.to_version_id != to_version_id:
        raise PromotionRefused(f"Replay {replay_id} tried {replay.to_version}, not this version")
    if from_version_id is not None and replay.from_version_id != from_version_id:
        raise PromotionRefused(
            f"Replay {replay_id} compared with {replay.from_version}, which is not live"
        )
    if replay.report is None:
        raise PromotionRefused(
            f"Replay {replay_id} is not completed: {replay.rows_done} of"
            f" {replay.rows_expected} rows, {replay.status}"
        )
    _check_figures(replay, replay.report, least)


def _check_figures(replay: Replay, report: Mapping[str, Any], least: float) -> None:
    agreement, rows = report["agreement"], report["rows"]
    figures = {
        name: report[name]
        for name in (
            *("rows", "compared", "incomparable", "refused", "failed"),
            *("agreed", "agreement", "agreement_interval"),
        )
    } | {"replay": replay.pk, "min_agreement": least}
    if not rows:
        raise PromotionRefused(f"Replay {replay.pk} had no rows to compare", figures)
    if agreement < least:
        raise PromotionRefused(
            f"Replay {replay.pk} agrees on {report['agreed']} of {rows} rows, which is"
            f" {agreement:.6g}; required is {least:.6g}",
            figures,
        )


def _read(require: Mapping[str, Any]) -> tuple[int, float]:
    if not isinstance(require, Mapping):
        raise InvalidRequirement({"require": ['Must be {"replay": 1, "min_agreement": 0.98}.']})
    errors = {
        f"require.{str(key)[:100]}": ["Unknown field."] for key in require if key not in KNOWN
    }
    replay, least = require.get("replay"), require.get("min_agreement")
    if type(replay) is not int or not 0 < replay <= MAX_ID:
        errors["require.replay"] = ["Must be the id of a replay."]
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
        errors["require.min_agreement"] = ["Must be a number from 0 to 1."]
    if errors:
        raise InvalidRequirement(errors)
    return int(replay or 0), float(least or 0)
