"""gunicorn's configuration: `gunicorn -c python:mlapi.server`.

The parent process only forks and watches. It loads no application, opens no connection and no
model: a fork of those leaves children that hang.
"""

import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from mlapi.settings import LOGGING

wsgi_app = "mlapi.wsgi:application"
worker_class = "gthread"
preload_app = False
control_socket_disable = True
proc_name = "mlapi"

# A stop lets what is in flight finish for so long, and then ends it.
graceful_timeout = 30
# The worker's main loop must stir this often; loading a model can hold the GIL for a while.
timeout = 120
keepalive = 15

# Which proxy headers count is decided by the service's own settings alone.
secure_scheme_headers: dict[str, str] = {}

logconfig_dict = LOGGING
errorlog = None
accesslog = None

logger = logging.getLogger(__name__)


def post_worker_init(worker: Any) -> None:
    """Load models beside the first requests: readiness must not wait for them, nor a stop."""
    threading.Thread(target=_warm, name="warm-models", daemon=True).start()


def child_exit(server: Any, worker: Any) -> None:
    """Drop a dead worker's gauges from /metrics; its counters stay."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the folder of metrics that `serve` made for this run."""
    folder = os.environ.get("MLAPI_METRICS_DIR")
    if folder and Path(folder).is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def _warm() -> None:
    # Imported in the worker, after the fork.
    from registry import loader

    try:
        loader.warm()
    except Exception:
        # Each will be tried again by the request that needs it.
        logger.exception("The models could not be loaded at start")
