"""Keeps the limits of loaded versions up to date, the only fields of theirs that may change."""

from registry.loading import loader
from registry.models import ModelVersion


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
