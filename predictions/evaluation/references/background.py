"""A few inputs of a reference, against which explanations are made."""

from typing import Any

from predictions.models import Prediction, Reference


def background_inputs(reference: Reference) -> list[Any]:
    """At most 100 inputs, as the log has them; none if any feature of the version is sensitive.

    A reference from the log refers to its predictions, so that what is erased or deleted there is
    not kept here.
    """
    if reference.source != Reference.Source.LOG:
        return list(reference.background)
    rows = Prediction.objects.filter(pk__in=reference.background)
    return list(rows.order_by("pk").values_list("input_data", flat=True))
