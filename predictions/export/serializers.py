"""The query parameters of exports."""

from rest_framework import serializers

from predictions.export.columns import INPUTS
from predictions.export.formats import FORMATS
from predictions.filters import PredictionQuery
from registry.pagination import MAX_ID


class ExportQuery(PredictionQuery):
    """The filters of the list of predictions, and the form of the export."""

    format = serializers.ChoiceField(choices=list(FORMATS))
    inputs = serializers.ChoiceField(
        choices=list(INPUTS),
        required=False,
        help_text="Inputs as columns by the signature, as one column of JSON, or both. By default"
        " columns, and JSON in NDJSON.",
    )
    from_position = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_ID,
        help_text="Only what was committed since an earlier export: its header Export-Position.",
    )


OWN_PARAMETERS = ("format", "inputs", "from_position")
