"""The event that a replay has finished; docs/webhooks.md describes its data."""

from collections.abc import Mapping

from predictions.models import Replay
from registry.models import ModelVersion
from registry.webhooks.events import Event
from registry.webhooks.outbox import publish

REPLAY_FINISHED = Event("replay.finished", "A replay was completed, or it failed.")


def announce(
    replay: Replay, status: Replay.Status, report: Mapping[str, object] | None = None
) -> None:
    """Publish that a replay has ended with this status, in the transaction that says so."""
    figures = report or {}
    data = {
        "replay_id": replay.pk,
        "status": status.value,
        "from": _reference(replay.from_version),
        "to": _reference(replay.to_version),
        "rows": replay.rows_done,
        "compared": figures.get("compared"),
        "agreement": figures.get("agreement"),
        "user_id": replay.created_by_id,
    }
    publish(REPLAY_FINISHED, replay.to_version.name, data)


def _reference(version: ModelVersion) -> dict[str, object]:
    return {"model_id": version.pk, "model": version.name, "version": version.version}
