"""The query parameters of lists of predictions: filters, and what else each row should have."""

from collections.abc import Sequence
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from predictions.following import FollowablePagination
from predictions.models import MAX_CALLERS_NAME_LENGTH, Prediction, attach_outcomes
from predictions.models.predictions import PredictionQuerySet
from predictions.serializers import MAX_SPECIFIER_LENGTH
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.models import MAX_ALIAS_LENGTH
from registry.pagination import MAX_ID, page_limit, parameter
from registry.serializers import safe_name

INCLUDE = "include"
INCLUDABLE = ("input_data", "outcome")
# An input may have megabytes.
MAX_LIMIT_WITH_INPUTS = 100
# `name`, `name@alias` or `name:version`, each part as NAME_PATTERN has it.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
SPECIFIER_PATTERN = rf"\A{_NAME}([@:]{_NAME})?\Z"
# As the middleware accepts it from callers.
REQUEST_ID_PATTERN = r"\A[A-Za-z0-9._-]{1,100}\Z"
MAX_USERNAME_LENGTH = 150


class PredictionQuery(serializers.Serializer[object]):
    """The filters of the list of predictions."""

    # SQLite's driver accepts no larger integer.
    model_id = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID)
    model = serializers.CharField(
        required=False,
        max_length=MAX_SPECIFIER_LENGTH,
        trim_whitespace=False,
        validators=[RegexValidator(SPECIFIER_PATTERN, "Must be name, name:version or name@alias.")],
        help_text="`name` for all its versions, `name:version`, or `name@alias` for what was asked"
        " under that alias.",
    )
    status = serializers.ChoiceField(required=False, choices=Prediction.Status.choices)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)
    reference = serializers.CharField(required=False, max_length=MAX_CALLERS_NAME_LENGTH)
    subject = serializers.CharField(required=False, max_length=MAX_CALLERS_NAME_LENGTH)
    request_id = serializers.CharField(
        required=False,
        trim_whitespace=False,
        validators=[
            RegexValidator(
                REQUEST_ID_PATTERN, "Must be 1 to 100 letters, digits and the characters . _ -"
            )
        ],
    )
    alias = safe_name(MAX_ALIAS_LENGTH, required=False)
    arm = serializers.ChoiceField(required=False, choices=Prediction.Arm.choices)
    flagged = serializers.BooleanField(
        required=False, help_text="Whether the input violates constraints."
    )
    user = serializers.CharField(
        required=False, max_length=MAX_USERNAME_LENGTH, help_text="The caller's username."
    )


class ModelPredictionQuery(PredictionQuery):
    """The same filters for the list of one version, whose id is in the path."""

    # DRF's way to remove inherited fields.
    model_id = None  # type: ignore[assignment]
    model = None  # type: ignore[assignment]


class PredictionPagination(FollowablePagination):
    """As FollowablePagination; `include` adds the input or the outcome to each row."""

    @property
    def parameter_names(self) -> frozenset[str]:
        return super().parameter_names | {INCLUDE}

    def narrow(self, rows: Any, request: Request, n_rows: int) -> Any:
        assert isinstance(rows, PredictionQuerySet)
        if rows.lies_in_runs:
            return rows.newest_of_runs(n_rows, Accessor.of(request))
        return super().narrow(rows, request, n_rows)

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        """One page; raises ValidationError for invalid parameters, and LogRestored."""
        included = _included(request)
        if "input_data" in included:
            if page_limit(request) > MAX_LIMIT_WITH_INPUTS:
                message = f"Must be at most {MAX_LIMIT_WITH_INPUTS} with {INCLUDE}=input_data."
                raise ValidationError({"limit": [message]})
            queryset = queryset.listed(with_inputs=True)
        page = super().paginate_queryset(queryset, request, view)
        if "outcome" in included:
            attach_outcomes(page)
        return page

    def get_schema_operation_parameters(self, view: APIView) -> list[JSONObject]:
        description = (
            "What each row has besides, separated by commas: `input_data` (then `limit` is at most"
            f" {MAX_LIMIT_WITH_INPUTS}), `outcome` (the latest one)."
        )
        items = {"type": "string", "enum": list(INCLUDABLE)}
        schema = {"type": "array", "items": items}
        return [
            *super().get_schema_operation_parameters(view),
            {**parameter(INCLUDE, description, schema), "style": "form", "explode": False},
        ]


def _included(request: Request) -> Sequence[str]:
    text = request.query_params.get(INCLUDE)
    names = [] if text is None else text.split(",")
    if set(names) - set(INCLUDABLE):
        message = f"Must be one or more of {', '.join(INCLUDABLE)}, separated by commas."
        raise ValidationError({INCLUDE: [message]})
    return names
