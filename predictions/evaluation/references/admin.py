"""References in the admin, read-only."""

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.references.serializers import summary
from predictions.models import Reference
from registry.models import ModelVersion
from registry.readonly_admin import ReadOnlyAdmin, change_link


@admin.register(Reference)
class ReferenceAdmin(ReadOnlyAdmin):
    list_display = ("id", "created_at", "model_link", "source", "rows", "labelled_rows", "user")
    list_filter = (("model", admin.RelatedOnlyFieldListFilter),)
    fields = (
        "model_link",
        "source",
        "description",
        "since",
        "until",
        "rows",
        "labelled_rows",
        "variables",
        "notes",
        "digest",
        "created_at",
        "user",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows = super().get_queryset(request).select_related("model", "created_by")
        # Of a list, the profiles would be megabytes.
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("changelist")
        return rows.defer("profile", "background") if is_list else rows

    @admin.display(description="version")
    def model_link(self, row: Reference) -> SafeString:
        return change_link(ModelVersion, row.model_id, row.model)

    @admin.display(description="created by")
    def user(self, row: Reference) -> str:
        return "-" if row.created_by is None else row.created_by.get_username()

    @admin.display(description="what is compared")
    def variables(self, row: Reference) -> SafeString:
        profile = Profile.from_json(row.profile)
        lines = [(key, _figures(summary(key, bins))) for key, bins in profile.variables.items()]
        return format_html_join("", "<div><strong>{}</strong> {}</div>", lines)

    @admin.display(description="notes")
    def notes(self, row: Reference) -> SafeString:
        return format_html_join("", "<div>{}</div>", ((note,) for note in row.profile["notes"]))


def _figures(figures: dict[str, object]) -> str:
    """A variable in one line."""
    parts = [f"{figures['missing']} missing"] if figures["missing"] else []
    numbers, categories = figures["numbers"], figures["categories"]
    if isinstance(numbers, dict) and numbers["quantiles"]:
        median = numbers["quantiles"]["0.5"]
        low, high = numbers["minimum"], numbers["maximum"]
        parts.insert(0, f"from {low:.6g} to {high:.6g}, median {median:.6g}")
    elif isinstance(categories, dict):
        named = list(categories["values"])[:5]
        parts.insert(0, f"{categories['distinct']} categories: {', '.join(named)}")
    return "; ".join(parts)
