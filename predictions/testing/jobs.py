"""What the tests of jobs share: a kind whose steps they control, and a worker in the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework import serializers

from predictions.jobs import changes, kinds
from predictions.jobs.kinds import JobKind
from predictions.jobs.running import RunningJob
from predictions.jobs.worker import execution, taking
from predictions.models import Job
from registry.access.accessor import SYSTEM, Accessor
from registry.database import clock
from registry.exact_json.serializers import StrictSerializer
from registry.exact_json.values import JSONObject
from registry.models import Right

Run = Callable[[RunningJob], JSONObject]


class SumParameters(StrictSerializer):
    numbers = serializers.ListField(child=serializers.IntegerField(), max_length=100)


def sum_up(running: RunningJob) -> JSONObject:
    """Adds one number a step."""
    numbers = running.parameters["numbers"]
    running.expect(len(numbers))
    state = running.cursor or {"sum": 0, "next": 0}
    while state["next"] < len(numbers):
        running.require_running()
        state = {"sum": state["sum"] + numbers[state["next"]], "next": state["next"] + 1}
        running.checkpoint(state, state["next"])
    return {"sum": state["sum"]}


def make_kind(run: Run = sum_up, **options: Any) -> JobKind:
    """A kind named `sum` about the model iris, for everybody who may read its log."""
    fields: dict[str, Any] = {
        "name": "sum",
        "description": "Adds numbers.",
        "parameters": SumParameters,
        "require_rights": lambda accessor, parameters: "iris",
        "right": Right.READ_LOG,
        **options,
    }
    return JobKind(run=run, **fields)


@pytest.fixture
def register_kind() -> Iterator[Callable[..., JobKind]]:
    """Registers a kind of job for the length of a test."""
    before = {kind.name: kind for kind in kinds.registered()}

    def register(run: Run = sum_up, **options: Any) -> JobKind:
        kind = make_kind(run, **options)
        kinds.register(kind)
        return kind

    yield register
    kinds._kinds.clear()
    kinds._kinds.update(before)


def create_job(
    kind: str = "sum", parameters: JSONObject | None = None, accessor: Accessor = SYSTEM
) -> Job:
    found = kinds.find(kind)
    given = {"numbers": [1, 2, 3]} if parameters is None else parameters
    payload = found.parameters(data=given)
    payload.is_valid(raise_exception=True)
    model_name = found.require_rights(accessor, payload.validated_data)
    return changes.create(found, given, model_name=model_name, accessor=accessor)


def run_next(is_stopping: Callable[[], bool] = lambda: False) -> Job | None:
    """Take and run the job that is due, as a worker does; the job as it is then."""
    job = taking.take_due()
    if job is None:
        return None
    execution.run(job, is_stopping)
    return Job.objects.get(pk=job.pk)


def make_due() -> None:
    """Let the pauses and leases of all jobs end."""
    Job.objects.unfinished().update(due_at=clock.now())
