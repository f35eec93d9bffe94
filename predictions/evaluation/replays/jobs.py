"""Replays as jobs: any number of rows."""

from django.db import transaction

from predictions.evaluation.replays import runner
from predictions.evaluation.replays.plan import InputsMasked
from predictions.evaluation.replays.rights import plan_for
from predictions.evaluation.replays.runner import ReplayTaken
from predictions.evaluation.replays.serializers import ReplayRequest
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import RunningJob
from predictions.models import Replay, ReplayNotFound
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.loading.errors import ArtifactMissing, ModelNotReady, ModelQuarantined
from registry.models import ModelNotFound, Right


def require_rights(accessor: Accessor, parameters: JSONObject) -> str:
    """The model whose recorded inputs are replayed; raises what `plan_for` raises."""
    return plan_for(accessor, parameters).from_version.name


def run(running: RunningJob) -> JSONObject:
    """Run the replay whose ID is in the cursor, which the first attempt has started."""
    replay = _find_or_start(running)
    if replay.report is None:
        running.expect(replay.rows_expected)

        def report(n_rows: int) -> None:
            running.progress(replay.rows_done)
            running.require_running()

        runner.run(replay, runner.load_model(replay.to_version), progress=report)
    running.checkpoint(running.cursor, replay.rows_done)
    figures: JSONObject = replay.report or {}
    return {
        "replay_id": replay.pk,
        "rows": replay.rows_done,
        "compared": figures["compared"],
        "agreement": figures["agreement"],
    }


def _find_or_start(running: RunningJob) -> Replay:
    if running.cursor is not None:
        return Replay.objects.with_versions().find(running.cursor["replay_id"])
    plan = plan_for(running.accessor, running.parameters)
    # Loaded before the row is written: a model that fails to load leaves no replay behind.
    runner.load_model(plan.to_version)
    with transaction.atomic():
        replay = runner.start(plan, created_by=running.accessor.user)
        running.checkpoint({"replay_id": replay.pk}, 0)
    return replay


REPLAY = JobKind(
    name="replay",
    description="Scores the recorded inputs of a version with another, and compares the answers.",
    parameters=ReplayRequest,
    require_rights=require_rights,
    run=run,
    right=Right.READ_LOG,
    # Taken: `manage.py replay` continues it at the same time.
    retried=(ModelNotReady, ReplayTaken),
    explained=(ArtifactMissing, InputsMasked, ModelNotFound, ModelQuarantined, ReplayNotFound),
)
