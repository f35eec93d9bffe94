"""Jobs as work of `manage.py work`."""

from datetime import timedelta

from predictions.jobs.worker import execution, taking
from predictions.jobs.worker.housekeeping import tidy
from registry.work.kinds import Kind
from registry.work.recurring import recurring

# Of each worker. A long job does not keep a short one waiting.
MAX_CONCURRENT = 2

JOBS = Kind(
    "jobs",
    "Runs jobs: see /api/v1/jobs/",
    taking.take_due,
    execution.run,
    max_concurrency=MAX_CONCURRENT,
    measure=taking.measure,
)
TIDYING = recurring(
    "job-tidying",
    "Removes finished jobs that are older than JOB_KEEP_DAYS",
    tidy,
    every=timedelta(hours=1),
)
