"""Keeps rows that predictions refer to."""

from typing import Any

from django.db import models
from django.db.models import ProtectedError
from django.db.models.deletion import Collector

# Django's PROTECT loads every referring row, to name them all; a few are enough.
MAX_PROTECTED_SHOWN = 20


def protect_by_sample(
    collector: Collector,
    field: "models.Field[Any, Any]",
    sub_objs: models.QuerySet[models.Model],
    using: str,
) -> None:
    """An `on_delete` like PROTECT that reads a few of possibly millions of referring rows."""
    # The admin passes a queryset with joins that the sample does not need.
    sample = list(sub_objs.select_related(None).only("pk")[:MAX_PROTECTED_SHOWN])
    if sample:
        raise ProtectedError(f"Predictions refer to this row by {field.name}.", set(sample))


# Makes `Collector.collect` pass a queryset that has not been evaluated.
setattr(protect_by_sample, "lazy_sub_objs", True)  # noqa: B010 -- a function has no such attribute
