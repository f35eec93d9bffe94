"""A requirement of promotions: a completed replay whose answers agree often enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from predictions.evaluation.promotion.requirements import Check, Errors, PromotionRefused
from predictions.models import Replay
from registry.exact_json.values import JSONObject
from registry.pagination import MAX_ID

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


class AgreeingReplay:
    """`{"replay": id, "min_agreement": share}`."""

    fields = ("replay", "min_agreement")

    def read(self, require: Mapping[str, object], errors: Errors) -> Check:
        replay_id, min_agreement = require.get("replay"), require.get("min_agreement")
        if type(replay_id) is not int or not 0 < replay_id <= MAX_ID:
            errors["require.replay"] = ["Must be the ID of a replay."]
            replay_id = 0
        if (
            isinstance(min_agreement, bool)
            or not isinstance(min_agreement, int | float)
            or not 0 <= min_agreement <= 1
        ):
            errors["require.min_agreement"] = ["Must be a number from 0 to 1."]
            min_agreement = 0
        return _Check(replay_id, float(min_agreement))


AGREEING_REPLAY = AgreeingReplay()


@dataclass(frozen=True, slots=True)
class _Check:
    replay_id: int
    min_agreement: float

    def __call__(self, from_version_id: int | None, to_version_id: int) -> None:
        """Without a live version to compare with, the replay may start from any version."""
        replay = Replay.objects.with_versions().filter(pk=self.replay_id).first()
        if replay is None:
            raise PromotionRefused(f"Replay {self.replay_id} not found")
        if replay.to_version_id != to_version_id:
            raise PromotionRefused(
                f"Replay {replay.pk} tested {replay.to_version}, not the version to promote"
            )
        if from_version_id is not None and replay.from_version_id != from_version_id:
            raise PromotionRefused(
                f"Replay {replay.pk} compared with {replay.from_version}, which is not live"
            )
        if replay.report is None:
            raise PromotionRefused(
                f"Replay {replay.pk} is not completed: {replay.rows_done} of"
                f" {replay.rows_expected} rows, {replay.status}"
            )
        _check_agreement(replay, replay.report, self.min_agreement)


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
