"""Keeps the lease of a job whose step takes longer than the lease."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from predictions.jobs.running import LEASE, RunningJob
from predictions.jobs.visibility import creator_refusal
from predictions.models import Job
from registry.database import clock

# Several may fail, for instance while the database restarts, before the lease ends.
HEARTBEAT_SECONDS = 10.0

logger = logging.getLogger(__name__)


@contextmanager
def heartbeat(running: RunningJob) -> Iterator[None]:
    """Renew the lease from a thread, and tell the job if it is lost or cancelled.

    If the process dies the thread dies with it, so that the lease ends.
    """
    ended = threading.Event()
    thread = threading.Thread(
        target=_beat, args=[running, ended], name=f"lease-of-job-{running.job.pk}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(running: RunningJob, ended: threading.Event) -> None:
    try:
        while not ended.wait(HEARTBEAT_SECONDS):
            close_old_connections()
            try:
                renew(running)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The lease of %s could not be renewed: %s", running.job, error)
            # No connection is kept idle between beats: a pool has few.
            connections.close_all()
            if running.is_lost:
                return
    finally:
        connections.close_all()


def renew(running: RunningJob) -> None:
    """Renew the lease; sets `is_lost`, `is_cancel_requested` or `refusal` of the job."""
    mine = Job.objects.filter(pk=running.job.pk, lease=running.lease)
    if not mine.update(due_at=clock.now() + LEASE):
        running.is_lost = True
    elif mine.filter(is_cancel_requested=True).exists():
        running.is_cancel_requested = True
    else:
        running.refusal = creator_refusal(running.accessor)
