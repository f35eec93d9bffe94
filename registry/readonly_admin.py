"""Admin pages of tables that are written elsewhere and too long to count."""

import json
from typing import TYPE_CHECKING

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

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


def readable_json(value: object) -> SafeString | str:
    """A JSON value as an indented block."""
    if value is None:
        return "-"
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="readable-json">{}</pre>', text)
