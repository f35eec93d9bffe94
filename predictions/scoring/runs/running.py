"""A run from its request to its manifest: what the command and the job have in common."""

import secrets
from collections.abc import Callable, Sequence

import orjson
from django.conf import settings
from django.utils import timezone

from predictions.export.destinations import open_destination
from predictions.export.destinations.base import Destination
from predictions.export.destinations.documents import MANIFEST, PLAN
from predictions.export.formats import FORMATS
from predictions.scoring.engines.base import Engine
from predictions.scoring.engines.opening import open_engine as open_engine
from predictions.scoring.planning import Plan, checked, divide
from predictions.scoring.runner import Run, plan_of, resume_or_start
from predictions.scoring.runs.pinning import Pinned, model_of, pin, renewed
from predictions.scoring.runs.recording import Recorder
from predictions.scoring.runs.requests import COMMAND, Asker, Request, Watch
from predictions.scoring.sources.opening import find_sources
from predictions.scoring.work import Instructions, ScoringFailed, Source
from registry.exact_json.values import JSONObject


def find_inputs(
    request: Request, check: Callable[[str], object] = lambda path: None
) -> list[Source]:
    """The input files, by name; raises ScoringFailed, and what `check` raises for a local path."""
    return find_sources(request.sources, check)


def plan_run(
    request: Request, sources: Sequence[Source], watch: Watch, pinned: Pinned | None = None
) -> Plan:
    """The plan of a run as things are now, except for versions that are pinned.

    Raises ScoringFailed, FormatUnavailable and what `pin` raises.
    """
    FORMATS[request.format].load()
    pinned = pinned or pin(request.model, with_canary=request.with_canary)
    instructions = Instructions(
        arms=pinned.arms,
        destination=request.destination,
        format=request.format,
        id_column=request.id_column,
        subject_column=request.subject_column,
    )
    instructions = checked(instructions, sources, is_recorded=request.is_recorded)
    identified, tasks = divide(sources, request.part_rows, watch.read)
    return Plan(
        run=secrets.token_hex(16),
        instructions=instructions,
        sources=identified,
        tasks=tasks,
        model=request.model,
        alias=pinned.alias,
        is_recorded=request.is_recorded,
        mlapi=settings.VERSION,
        started_at=timezone.now().isoformat(),
    )


def pinned_at(request: Request) -> Pinned:
    """The versions of the run that was begun at the destination of a request for the same model.

    Raises ScoringFailed, DestinationUnavailable and what `renewed` raises.
    """
    destination = open_destination(request.destination)
    content = destination.read(MANIFEST) or destination.read(PLAN)
    if content is None:
        raise ScoringFailed(f"--resume: {destination} has no run that could go on")
    plan = plan_of(orjson.loads(content), destination)
    for version in plan.instructions.arms.versions:
        if model_of(version.name) != model_of(request.model):
            raise ScoringFailed(f"--resume: {destination} has a run of {version.name}")
    return renewed(Pinned(plan.instructions.arms, plan.alias))


def carry_out(
    plan: Plan, engine: Engine, watch: Watch, caller: Asker = COMMAND
) -> tuple[JSONObject, bool]:
    """The manifest of the run, and whether it was complete already.

    Raises ScoringFailed, ScoringInterrupted, DestinationUnavailable and EngineUnavailable.
    """
    destination = open_destination(plan.instructions.destination)
    with destination.lock():
        plan, manifest = resume_or_start(destination, plan)
        run = Run(plan, destination)
        if manifest is not None:
            run.clean()
            return manifest, True
        return _carry_out(run, destination, engine, watch, caller), False


def _carry_out(
    run: Run, destination: Destination, engine: Engine, watch: Watch, caller: Asker
) -> JSONObject:
    done = run.receipts()
    watch.planned(run.plan, list(done.values()))
    receipts = run.do(engine, done, watch.done)
    notes: JSONObject = {}
    if run.plan.is_recorded:
        recorder = Recorder(run.plan, destination, caller.user_id, caller.api_key_id)
        notes["recorded"] = sum(
            recorder.record(task, receipt, watch.recorded)
            for task, receipt in zip(run.plan.tasks, receipts, strict=True)
        )
    return run.seal(receipts, timezone.now().isoformat(), **notes)
