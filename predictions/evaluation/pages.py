"""What the admin's pages of figures have in common: their query parameters, scripts and styles."""

from collections.abc import Mapping, Sequence

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from rest_framework import serializers

from predictions.evaluation.charts import MEDIA
from registry.exact_json.values import JSONObject


def parse_query(
    request: HttpRequest,
    query_class: type[serializers.Serializer[object]],
    defaults: Mapping[str, str],
) -> tuple[JSONObject | None, Sequence[str]]:
    """The query parameters of a page; if they are invalid, None and the messages."""
    values = {name: value for name, value in request.GET.dict().items() if value}
    for name in ("from", "to"):
        # A date input sends a date alone; days begin in UTC.
        if len(values.get(name, "")) == len("2026-01-01"):
            values[name] += "T00:00:00Z"
    query = query_class(data={**defaults, **values})
    if query.is_valid():
        return query.validated_data, []
    return None, [
        str(messages[0]) if name == "non_field_errors" else f"{name}: {messages[0]}"
        for name, messages in query.errors.items()
    ]


def render(
    request: HttpRequest, site: AdminSite, template: str, context: JSONObject
) -> HttpResponse:
    return TemplateResponse(
        request,
        f"admin/predictions/{template}",
        {**site.each_context(request), "media": MEDIA, **context},
    )
