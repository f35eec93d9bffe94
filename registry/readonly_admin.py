"""Admin pages of tables that are written elsewhere and too long to count."""

import json
import shlex
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from rest_framework.exceptions import ValidationError
from rest_framework.serializers import Serializer

from registry.exact_json.values import JSONObject

# The pages end here; a date filter reaches older rows.
MAX_LISTED_ROWS = 10_000

if TYPE_CHECKING:
    # Generic in the stubs alone.
    _ModelAdmin = admin.ModelAdmin[Model]
    _Paginator = Paginator[Model]
else:
    _ModelAdmin, _Paginator = admin.ModelAdmin, Paginator


def change_link(model: type[Model], pk: object, text: object) -> SafeString:
    """A link to the admin page of a row."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return format_html('<a href="{}">{}</a>', url, text)


class BoundedPaginator(_Paginator):
    """Counts at most `limit` rows, never the whole table."""

    limit = MAX_LISTED_ROWS

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by()[: self.limit].count()


class ReadOnlyAdmin(_ModelAdmin):
    """Lists and shows rows, newest first; nobody adds, changes or deletes them here.

    No page counts the table. Subclasses may sort by the columns that an index covers.
    """

    sortable_by = ("created_at",)
    ordering = ("-created_at", "-id")
    list_per_page = 100
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ["registry/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class SearchableAdmin(ReadOnlyAdmin):
    """A read-only list whose search box takes the filters of the API: `subject:17 status:failed`.

    Django's own search compares texts in ways that no index serves.
    """

    query_serializer_class: type[Serializer[object]]
    # Shows the box; the names are those of the serializer.
    search_fields = ("id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        try:
            filters = parse_search(search_term, self.query_serializer_class)
        except ValidationError as error:
            self.message_user(request, _text_of(error), messages.ERROR)
            return queryset.none(), False
        return self.search(queryset, filters), False

    def search(self, rows: QuerySet[Model], filters: JSONObject) -> QuerySet[Model]:
        matching: QuerySet[Model] = cast(Any, rows).matching(**filters)
        return matching


def parse_search(text: str, serializer_class: type[Serializer[object]]) -> JSONObject:
    """The filters in a text such as `subject:17 model:"iris@champion"`.

    Raises ValidationError with messages by name.
    """
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise ValidationError({"search": ["A quotation mark is missing."]}) from error
    names = serializer_class().fields.keys()
    values: dict[str, str] = {}
    for term in terms:
        name, colon, value = term.partition(":")
        if not colon or name not in names:
            allowed = ", ".join(f"{name}:…" for name in names)
            raise ValidationError({"search": [f"“{term}” is not one of {allowed}"]})
        if name in values:
            raise ValidationError({name: ["Give it only once."]})
        values[name] = value
    serializer = serializer_class(data=values)
    serializer.is_valid(raise_exception=True)
    filters: JSONObject = serializer.validated_data
    return filters


def search_url(model: type[Model], /, **filters: object) -> str:
    """The address of the list of a SearchableAdmin, with these filters in its search box."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    terms = " ".join(f"{name}:{shlex.quote(str(value))}" for name, value in filters.items())
    return f"{url}?{urlencode({'q': terms})}"


def search_link(model: type[Model], text: object, /, **filters: object) -> SafeString:
    """A link to other rows with the same values."""
    return format_html('<a href="{}">{}</a>', search_url(model, **filters), text)


def _text_of(error: ValidationError) -> str:
    detail = cast(Any, error.detail)
    return "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in detail.items())


def readable_json(value: object) -> SafeString | str:
    """A JSON value as an indented block."""
    if value is None:
        return "-"
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="readable-json">{}</pre>', text)
