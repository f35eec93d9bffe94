"""The admin pages of versions, with the same checks as the API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import formats
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_protect

from registry import downloads, hooks, services
from registry.access.accessor import Accessor
from registry.access.keys import admin as api_key_admin  # noqa: F401 -- registers its pages
from registry.aliases import activation
from registry.aliases import admin as alias_admin  # noqa: F401 -- registers its pages
from registry.aliases.approvals import admin as approval_admin  # noqa: F401
from registry.aliases.recording import Attribution
from registry.audit import admin as audit_admin  # noqa: F401 -- registers its pages
from registry.forms import CHANGEABLE_FIELDS, UPLOAD_FIELDS, ModelVersionForm
from registry.loading import quarantine
from registry.models import ModelNotFound, ModelVersion
from registry.registered_models import admin as registered_model_admin  # noqa: F401
from registry.signatures.signature import BATCHING_EXPLANATIONS
from registry.webhooks import admin as webhook_admin  # noqa: F401
from registry.work import admin as work_admin  # noqa: F401

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

    # Generic only in the stubs.
    _ModelVersionAdmin = admin.ModelAdmin[ModelVersion]
else:
    _ModelVersionAdmin = admin.ModelAdmin

FIXED_FIELDS = ("name", "version", "framework", "created_at", "created_by", "links")
MODEL_FIELDS = ("state", "file", "signature_table", "libraries_table", "metrics_table")


@admin.register(ModelVersion)
class ModelVersionAdmin(_ModelVersionAdmin):
    form = ModelVersionForm
    list_display = ("name", "version", "is_active", "framework", "size", "created_at", "links")
    list_display_links = ("name", "version")
    list_filter = ("is_active", "framework")
    search_fields = ("name", "version")
    ordering = ("-created_at", "-id")
    actions = ("activate", "deactivate", "release")
    show_full_result_count = False

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_urls(self) -> list[URLPattern]:
        # First: the admin's last pattern takes any path for a row's key.
        view = self.admin_site.admin_view(self.download)
        route = path("<int:pk>/artifact/", view, name="registry_modelversion_artifact")
        return [route, *super().get_urls()]

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The artifact, for those who may see the version's page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            version = ModelVersion.objects.find(pk)
        except ModelNotFound as error:
            raise Http404(str(error)) from error
        return downloads.download(request, version, Accessor.of(request))

    def get_form(
        self,
        request: HttpRequest,
        obj: ModelVersion | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> "type[forms.ModelForm[ModelVersion]]":
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"attribution": Attribution.from_request(request)})

    def get_readonly_fields(
        self, request: HttpRequest, obj: ModelVersion | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else (*FIXED_FIELDS, *MODEL_FIELDS)

    def get_fieldsets(
        self, request: HttpRequest, obj: ModelVersion | None = None
    ) -> "_FieldsetSpec":
        if obj is None:
            new_fields = ("name", "version", "framework", *CHANGEABLE_FIELDS)
            return [(None, {"fields": new_fields}), ("Model file", {"fields": UPLOAD_FIELDS})]
        sections: list[tuple[str | None, tuple[str, ...]]] = [
            (None, FIXED_FIELDS),
            ("Model", MODEL_FIELDS),
            ("Notes", CHANGEABLE_FIELDS),
        ]
        if not obj.has_artifact:
            sections.append(("Model file", UPLOAD_FIELDS))
        return [(title, {"fields": fields}) for title, fields in sections]

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # Django's own view wraps a POST in a transaction. Proving the file would keep it open for
        # up to a minute, during which SQLite could record no prediction.
        return self._changeform_view(  # type: ignore[attr-defined, no-any-return]
            request, object_id, form_url, extra_context
        )

    def save_model(
        self,
        request: HttpRequest,
        obj: ModelVersion,
        form: "forms.ModelForm[ModelVersion]",
        change: bool,
    ) -> None:
        """Does nothing: validating the form has stored the version."""

    def get_deleted_objects(
        self, objs: Sequence[ModelVersion] | QuerySet[ModelVersion], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        # A champion that nobody chose does not protect its only version: both are deleted.
        deletable = [
            f'"{reverse("admin:registry_alias_change", args=[alias.pk])}"'
            for alias in activation.automatic_champions(objs)
        ]
        blocking = [text for text in protected if not any(link in text for link in deletable)]
        return deleted, counts, needed, blocking

    def delete_model(self, request: HttpRequest, obj: ModelVersion) -> None:
        services.delete_version(model_id=obj.pk, attribution=Attribution.from_request(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        for version in queryset:
            services.delete_version(
                model_id=version.pk, attribution=Attribution.from_request(request)
            )

    @admin.action(description="Activate selected versions", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        self._set_active(request, queryset, True)

    @admin.action(description="Deactivate selected versions", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        self._set_active(request, queryset, False)

    def _set_active(
        self, request: HttpRequest, queryset: QuerySet[ModelVersion], is_active: bool
    ) -> None:
        changed = 0
        for version in queryset.only("pk"):
            try:
                activation.update_version(
                    model_id=version.pk,
                    is_active=is_active,
                    attribution=Attribution.from_request(request),
                )
                changed += 1
            except (ModelNotFound, services.VersionInUse) as error:
                self.message_user(request, str(error), messages.ERROR)
        if changed:
            noun = "version" if changed == 1 else "versions"
            action = "activated" if is_active else "deactivated"
            self.message_user(request, f"{changed} {noun} {action}.", messages.SUCCESS)

    @admin.action(description="Release from quarantine", permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        released = [
            version
            for version in queryset
            if quarantine.release(version, accessor=Accessor.of(request))
        ]
        for version in released:
            self.log_change(request, version, "Released from quarantine.")
        noun = "version" if len(released) == 1 else "versions"
        level = messages.SUCCESS if released else messages.WARNING
        self.message_user(request, f"{len(released)} {noun} released from quarantine.", level)

    @admin.display(description="health")
    def state(self, version: ModelVersion) -> str:
        if version.quarantined_at is not None:
            since = formats.date_format(version.quarantined_at, "DATETIME_FORMAT")
            return f"in quarantine since {since}: {version.quarantine_reason}"
        if version.is_suspect:
            crashes = f"{version.crashes} crash{'' if version.crashes == 1 else 'es'} counted"
            return f"scored in a process of its own, since a worker failed; {crashes}"
        return "no crash known"

    @admin.display(description="file size", ordering="size_bytes")
    def size(self, version: ModelVersion) -> str:
        return filesizeformat(version.size_bytes or 0) if version.has_artifact else "no file yet"

    @admin.display(description="links")
    def links(self, version: ModelVersion) -> SafeString | str:
        links = hooks.extension().version_links
        return (
            format_html_join(
                " · ", '<a href="{}">{}</a>', ((link.url(version), link.label) for link in links)
            )
            or "-"
        )

    @admin.display(description="file")
    def file(self, version: ModelVersion) -> SafeString | str:
        if not version.has_artifact:
            return "no file yet"
        return format_html(
            '<a href="{}">{}</a><br>{} bytes<br>sha256 <code>{}</code>',
            reverse("admin:registry_modelversion_artifact", args=[version.pk]),
            version.artifact,
            version.size_bytes,
            version.sha256,
        )

    @admin.display(description="signature")
    def signature_table(self, version: ModelVersion) -> str:
        if version.signature is None:
            return "-"
        context = {
            "signature": version.signature,
            "explanation": BATCHING_EXPLANATIONS[version.signature.get("batching")],
        }
        return render_to_string("admin/registry/signature.html", context)

    @admin.display(description="written by")
    def libraries_table(self, version: ModelVersion) -> str:
        return ", ".join(f"{name} {number}" for name, number in version.libraries.items()) or "-"

    @admin.display(description="metrics")
    def metrics_table(self, version: ModelVersion) -> str:
        if not version.metrics:
            return "-"
        return render_to_string("admin/registry/metrics.html", {"metrics": version.metrics})
