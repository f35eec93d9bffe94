"""Versions in the admin: upload with the API's checks, activate, deactivate, look at."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_protect
from rest_framework import serializers

from registry import services
from registry.aliases import activation
from registry.aliases import admin as alias_admin  # noqa: F401 -- registers its pages
from registry.aliases.moves import BY_ITSELF, Cause
from registry.artifacts import store
from registry.exact_json.fields import ExactJSONFormField
from registry.models import ModelNotFound, ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.serializers import ExampleField, ModelVersionRequest, SignatureField

CHANGEABLE = ("description", "metrics", "tags", "is_active")
TOLD = ("name", "version", "framework", "created_at", "created_by", "log")
SHOWN = ("file", "signature_table", "libraries_table", "metrics_table")
# A form field must not be called like a model field that nobody edits.
FIELD_OF_ERROR = {"artifact": "model_file", "signature": "declared_signature"}
REGISTRY_ERRORS = (
    store.ArtifactRejected,
    services.ArtifactExists,
    services.VersionExists,
    services.VersionInUse,
    ModelNotFound,
)


class ModelVersionForm(forms.ModelForm):
    """A version's fields, and its file: registered, as through the API, once all else is valid."""

    framework = forms.ChoiceField(
        required=False,
        choices=[("", "as the file tells"), *((name, name) for name in FRAMEWORKS)],
        help_text="Needed only where the file comes later.",
    )
    model_file = forms.FileField(
        required=False,
        help_text=".skops, .onnx, .ubj, .json or .txt; attached once, it never changes.",
    )
    declared_signature = ExactJSONFormField(
        required=False,
        label="Signature",
        help_text="Names, types and classes that the file cannot tell:"
        ' {"inputs": [{"name": "age", "datatype": "FP64"}]}',
    )
    example = ExactJSONFormField(
        required=False, help_text="Rows that the model must be able to score: [[5.1, 3.5]]"
    )

    # Set by the admin, which knows who is signed in.
    cause = BY_ITSELF

    class Meta:
        model = ModelVersion
        fields = ["name", "version", "framework", *CHANGEABLE]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if version := self.fields.get("version"):
            version.required = False
            version.help_text = "By default, the next whole number of this name."

    def clean_name(self) -> Any:
        return self._checked("name", ModelVersionRequest().fields["name"])

    def clean_version(self) -> Any:
        if not self.cleaned_data["version"]:
            return ""
        return self._checked("version", ModelVersionRequest().fields["version"])

    def clean_tags(self) -> Any:
        return self.cleaned_data["tags"] or {}

    def clean_declared_signature(self) -> Any:
        return self._checked("declared_signature", SignatureField())

    def clean_example(self) -> Any:
        return self._checked("example", ExampleField())

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        if not self.instance.pk and not given.get("framework") and not given.get("model_file"):
            self.add_error("framework", "Choose one, or send the model file.")

    def is_valid(self) -> bool:
        """Whether the form is valid and what it says was accepted and written."""
        return super().is_valid() and self._settled()

    def _settled(self) -> bool:
        try:
            self.instance = self._revise() if self.instance.pk else self._register()
        except REGISTRY_ERRORS as error:
            self._show(error)
        return not self.errors

    def _show(self, error: Exception) -> None:
        for path, said in getattr(error, "errors", {"": [str(error)]}).items():
            # A place in the example rows, example[3].alcohol, is shown at their field.
            field = path.split("[")[0].split(".")[0]
            field = FIELD_OF_ERROR.get(field, field)
            place = f"{path}: " if "[" in path or "." in path else ""
            self.add_error(
                field if field in self.fields else None, [f"{place}{text}" for text in said]
            )

    def _register(self) -> ModelVersion:
        given = self.cleaned_data
        return services.register_model(
            name=given["name"],
            version=given["version"] or None,
            framework=given["framework"] or None,
            created_by=self.cause.user,
            request_id=self.cause.request_id,
            upload=self._upload(),
            **{name: given[name] for name in CHANGEABLE},
        )

    def _revise(self) -> ModelVersion:
        """Attach the file, and write the changed notes alone."""
        model_id = self.instance.pk
        if (upload := self._upload()) is not None:
            services.attach_artifact(model_id=model_id, upload=upload, cause=self.cause)
        changes = {key: self.cleaned_data[key] for key in CHANGEABLE if key in self.changed_data}
        return activation.revise(model_id=model_id, cause=self.cause, **changes)

    def _upload(self) -> services.Upload | None:
        given = self.cleaned_data
        if not given.get("model_file"):
            return None
        return services.Upload(
            given["model_file"].chunks(),
            given.get("declared_signature"),
            given.get("example") or (),
        )

    def _checked(self, name: str, field: serializers.Field) -> Any:
        value = self.cleaned_data[name]
        if value is None:
            return None
        try:
            return field.run_validation(value)
        except serializers.ValidationError as error:
            raise ValidationError([str(said) for said in error.detail]) from error


def _cause(request: HttpRequest) -> Cause:
    user: Any = request.user
    return Cause(user=user, request_id=getattr(request, "request_id", ""))


@admin.register(ModelVersion)
class ModelVersionAdmin(admin.ModelAdmin):
    form = ModelVersionForm
    list_display = ("name", "version", "is_active", "framework", "size", "created_at", "log")
    list_display_links = ("name", "version")
    list_filter = ("is_active", "framework")
    search_fields = ("name", "version")
    ordering = ("-created_at", "-id")
    actions = ("activate", "deactivate")
    show_full_result_count = False

    class Media:
        css = {"all": ["registry/admin.css"]}

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        return type(form.__name__, (form,), {"cause": _cause(request)})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else (*TOLD, *SHOWN)

    def get_fieldsets(self, request: HttpRequest, obj: ModelVersion | None = None) -> Any:
        upload = ("Model file", {"fields": ("model_file", "declared_signature", "example")})
        if obj is None:
            return [(None, {"fields": ("name", "version", "framework", *CHANGEABLE)}), upload]
        sections = [
            (None, {"fields": TOLD}),
            ("What the model is", {"fields": SHOWN}),
            ("Notes", {"fields": CHANGEABLE}),
        ]
        return sections if obj.has_artifact else [*sections, upload]

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # The stock view wraps a POST in a transaction, which a proof would hold open for a minute:
        # on SQLite no prediction could be recorded meanwhile.
        return self._changeform_view(  # type: ignore[attr-defined]
            request, object_id, form_url, extra_context
        )

    def save_model(self, request: HttpRequest, obj: ModelVersion, form: Any, change: bool) -> None:
        """The form has written it already."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        # A champion that nobody chose goes with its only version.
        going = [
            f'"{reverse("admin:registry_alias_change", args=[alias.pk])}"'
            for alias in activation.automatic_champions(objs)
        ]
        staying = [text for text in protected if not any(link in text for link in going)]
        return deleted, counts, needed, staying

    def delete_model(self, request: HttpRequest, obj: ModelVersion) -> None:
        services.delete_version(model_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        for version in queryset:
            services.delete_version(model_id=version.pk)

    @admin.action(description="Activate selected versions", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        self._switch(request, queryset, is_active=True, done="activated")

    @admin.action(description="Deactivate selected versions", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        self._switch(request, queryset, is_active=False, done="deactivated")

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[ModelVersion], *, is_active: bool, done: str
    ) -> None:
        changed = 0
        for version in queryset.only("pk"):
            try:
                activation.revise(model_id=version.pk, is_active=is_active, cause=_cause(request))
                changed += 1
            except (ModelNotFound, services.VersionInUse) as error:
                self.message_user(request, str(error), messages.ERROR)
        if changed:
            self.message_user(request, f"{changed} {done}.", messages.SUCCESS)

    @admin.display(description="file size", ordering="size_bytes")
    def size(self, version: ModelVersion) -> str:
        return filesizeformat(version.size_bytes or 0) if version.has_artifact else "no file yet"

    @admin.display(description="predictions")
    def log(self, version: ModelVersion) -> SafeString:
        return format_html(
            '<a href="{}?model__id__exact={}">Predictions</a> · <a href="{}">Quality</a>',
            reverse("admin:predictions_prediction_changelist"),
            version.pk,
            reverse("admin:predictions_quality", args=[version.pk]),
        )

    @admin.display(description="file")
    def file(self, version: ModelVersion) -> SafeString | str:
        if not version.has_artifact:
            return "no file yet"
        return format_html(
            "{}<br>{} bytes<br>sha256 <code>{}</code>",
            version.artifact,
            version.size_bytes,
            version.sha256,
        )

    @admin.display(description="signature")
    def signature_table(self, version: ModelVersion) -> str:
        if version.signature is None:
            return "-"
        return render_to_string("admin/registry/signature.html", {"signature": version.signature})

    @admin.display(description="written by")
    def libraries_table(self, version: ModelVersion) -> str:
        return ", ".join(f"{name} {number}" for name, number in version.libraries.items()) or "-"

    @admin.display(description="metrics")
    def metrics_table(self, version: ModelVersion) -> str:
        if not version.metrics:
            return "-"
        return render_to_string("admin/registry/metrics.html", {"metrics": version.metrics})
