"""Keeps the limits of loaded versions up to date, the only fields of theirs that may change."""

import logging
import time

from django.db import Error as DatabaseError
from django.db import connection

from registry.loading import loader
from registry.models import ModelVersion

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 5


def refresh_limits() -> None:
    """Read the limits of the models in this process's memory again, in one query."""
    loaded = {model.version.pk: model.version for model in loader.cache.models()}
    if not loaded:
        return
    rows = ModelVersion.objects.filter(pk__in=loaded)
    for pk, max_concurrency, seconds in rows.values_list(
        "pk", "max_concurrency", "timeout_seconds"
    ):
        loaded[pk].max_concurrency = max_concurrency
        loaded[pk].timeout_seconds = seconds


def keep_limits_fresh() -> None:
    """Refresh the limits every REFRESH_SECONDS, without end: a request must not query for them."""
    while True:
        time.sleep(REFRESH_SECONDS)
        try:
            refresh_limits()
        except DatabaseError as error:
            logger.warning("The limits of the loaded models could not be read: %s", error)
        finally:
            connection.close()
