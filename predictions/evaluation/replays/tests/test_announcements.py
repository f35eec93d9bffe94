"""What webhooks are told when a replay ends."""

import pytest

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import Plan
from predictions.testing.replays import coarse as coarse
from predictions.testing.replays import coarse_artifact as coarse_artifact
from predictions.testing.replays import iris_rows, record_labels, run_replay
from registry.models import ModelVersion, Webhook, WebhookDelivery
from registry.testing.artifacts import Artifact


@pytest.fixture(autouse=True)
def webhook(db: None) -> Webhook:
    return Webhook.objects.create(
        name="chat", url="https://hooks.example.com/", events=["replay.finished"]
    )


def test_completed_replay_is_announced_with_its_figures(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:10])

    replay = run_replay(iris, coarse)

    row = WebhookDelivery.objects.get()
    assert (row.event, row.model) == ("replay.finished", "iris")
    assert replay.report is not None
    assert row.payload["data"] == {
        "model": "iris",
        "replay_id": replay.pk,
        "status": "completed",
        "from": {"model_id": iris.pk, "model": "iris", "version": "1"},
        "to": {"model_id": coarse.pk, "model": "iris", "version": "2"},
        "rows": 10,
        "compared": 10,
        "agreement": replay.report["agreement"],
        "user_id": None,
    }


def test_failed_replay_is_announced_without_figures(
    iris: ModelVersion,
    coarse: ModelVersion,
    iris_artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:10])
    replay = runner.start(Plan(from_version=iris, to_version=coarse))
    monkeypatch.setattr(runner, "report_of", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.run(replay, runner.load_model(coarse))

    data = WebhookDelivery.objects.get().payload["data"]
    assert (data["status"], data["rows"], data["agreement"]) == ("failed", 10, None)


def test_replay_that_another_process_completed_is_announced_once(
    iris: ModelVersion, coarse: ModelVersion, iris_artifact: Artifact
) -> None:
    record_labels(iris, iris_artifact, iris_rows()[:10])
    replay = run_replay(iris, coarse)

    with pytest.raises(runner.ReplayTaken):
        runner.run(replay, runner.load_model(coarse))

    assert WebhookDelivery.objects.count() == 1
