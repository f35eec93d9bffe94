"""Ends this worker if a call in it hangs: nothing else gets such a thread back."""

import logging
import os
import signal
import threading
import time

from django.conf import settings
from django.db import connection

from registry.isolation.black_box import Call
from registry.loading import loader, quarantine

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
# Requests in flight may finish, but the hung one never will.
GRACE_SECONDS = 10.0


def start() -> threading.Thread:
    """Start a thread that checks every second; it never ends."""
    thread = threading.Thread(target=_run, name="watchdog", daemon=True)
    thread.start()
    return thread


def _run() -> None:
    while True:
        check()
        time.sleep(CHECK_SECONDS)


def check() -> None:
    """Stop this worker if a call has run for HUNG_CALL_SECONDS; the server replaces it."""
    limit = settings.HUNG_CALL_SECONDS
    hung = [call for call in loader.black_box.calls() if limit and call.seconds > limit]
    if hung:
        _stop_worker(hung)


def _stop_worker(hung: list[Call]) -> None:
    logger.error("A model has not answered for %.0f s: this worker stops", hung[0].seconds)
    quarantine.suspect({call.version_id for call in hung})
    connection.close()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
