"""The admin's form of a version. Validating it also registers or changes the version, so that
errors of the file and of the database appear on its fields.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from rest_framework import serializers

from registry import services
from registry.aliases import activation
from registry.aliases.recording import SYSTEM
from registry.artifacts.errors import ArtifactRejected
from registry.exact_json.fields import ExactJSONFormField
from registry.models import ModelNotFound, ModelVersion
from registry.runtimes import FRAMEWORKS
from registry.serializers import (
    ExampleField,
    LimitsRequest,
    ModelVersionRequest,
    SignatureField,
)

CHANGEABLE_FIELDS = (
    "description",
    "metrics",
    "tags",
    "is_active",
    "max_concurrency",
    "timeout_seconds",
)
UPLOAD_FIELDS = ("model_file", "declared_signature", "example")
# These form fields must not be named like the model fields, which nobody edits.
FORM_FIELD_BY_REQUEST_FIELD = {"artifact": "model_file", "signature": "declared_signature"}
REGISTRY_ERRORS = (
    ArtifactRejected,
    services.ArtifactExists,
    services.VersionExists,
    services.VersionInUse,
    ModelNotFound,
)

if TYPE_CHECKING:
    # Generic only in the stubs.
    _ModelForm = forms.ModelForm[ModelVersion]
else:
    _ModelForm = forms.ModelForm


class ModelVersionForm(_ModelForm):
    framework = forms.ChoiceField(
        required=False,
        choices=[("", "detect from the file"), *((name, name) for name in FRAMEWORKS)],
        help_text="Required only if you send the file later.",
    )
    model_file = forms.FileField(
        required=False,
        help_text=".skops, .onnx, .ubj, .json or .txt. Once attached, the file cannot be changed.",
    )
    declared_signature = ExactJSONFormField(
        required=False,
        label="Signature",
        help_text="Names, types and classes that the file does not contain:"
        ' {"inputs": [{"name": "age", "datatype": "FP64"}]}',
    )
    example = ExactJSONFormField(
        required=False, help_text="Rows that the model must be able to score: [[5.1, 3.5]]"
    )

    # The admin sets it to the user who is logged in.
    attribution = SYSTEM

    class Meta:
        model = ModelVersion
        fields = ["name", "version", "framework", *CHANGEABLE_FIELDS]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if version := self.fields.get("version"):
            version.required = False
            version.help_text = "Defaults to the name's next whole number."

    def clean_name(self) -> object:
        return self._validate("name", ModelVersionRequest().fields["name"].run_validation)

    def clean_version(self) -> object:
        if not self.cleaned_data["version"]:
            return ""
        return self._validate("version", ModelVersionRequest().fields["version"].run_validation)

    def clean_tags(self) -> object:
        return self.cleaned_data["tags"] or {}

    def clean_max_concurrency(self) -> object:
        return self._validate("max_concurrency", _limit("max_concurrency"))

    def clean_timeout_seconds(self) -> object:
        return self._validate("timeout_seconds", _limit("timeout_seconds"))

    def clean_declared_signature(self) -> object:
        return self._validate("declared_signature", SignatureField().run_validation)

    def clean_example(self) -> object:
        return self._validate("example", ExampleField().run_validation)

    def clean(self) -> None:
        super().clean()
        is_new = not self.instance.pk
        cleaned = self.cleaned_data
        if is_new and not cleaned.get("framework") and not cleaned.get("model_file"):
            self.add_error("framework", "Choose a framework, or send the model file.")

    def is_valid(self) -> bool:
        """Whether the form is valid and the registry has accepted and stored it."""
        return super().is_valid() and self._store()

    def _store(self) -> bool:
        """Register or change the version; errors make the form invalid."""
        try:
            self.instance = self._update() if self.instance.pk else self._register()
        except REGISTRY_ERRORS as error:
            errors = getattr(error, "errors", {"": [str(error)]})
            self._add_request_errors(errors)
        return not self.errors

    def _add_request_errors(self, errors: Mapping[str, list[str]]) -> None:
        """Show messages by field path, such as example[3].alcohol, at the form's fields."""
        for path, messages in errors.items():
            request_field = path.split("[")[0].split(".")[0]
            field = FORM_FIELD_BY_REQUEST_FIELD.get(request_field, request_field)
            prefix = f"{path}: " if path != request_field else ""
            self.add_error(
                field if field in self.fields else None,
                [f"{prefix}{message}" for message in messages],
            )

    def _register(self) -> ModelVersion:
        cleaned = self.cleaned_data
        return services.register_model(
            name=cleaned["name"],
            version=cleaned["version"] or None,
            framework=cleaned["framework"] or None,
            attribution=self.attribution,
            upload=self._upload(),
            **{name: cleaned[name] for name in CHANGEABLE_FIELDS},
        )

    def _update(self) -> ModelVersion:
        """Attach the file if there is one, and write only the fields that were changed."""
        model_id = self.instance.pk
        if (upload := self._upload()) is not None:
            services.attach_artifact(model_id=model_id, upload=upload, attribution=self.attribution)
        changed = {
            name: self.cleaned_data[name] for name in CHANGEABLE_FIELDS if name in self.changed_data
        }
        return activation.update_version(model_id=model_id, attribution=self.attribution, **changed)

    def _upload(self) -> services.Upload | None:
        cleaned = self.cleaned_data
        if not cleaned.get("model_file"):
            return None
        return services.Upload(
            cleaned["model_file"],
            cleaned.get("declared_signature"),
            cleaned.get("example") or (),
        )

    def _validate(self, name: str, validate: Callable[[object], object]) -> object:
        """Validate a value as the API does."""
        value = self.cleaned_data[name]
        if value is None:
            return None
        try:
            return validate(value)
        except serializers.ValidationError as error:
            raise ValidationError([str(message) for message in error.detail]) from error


def _limit(name: str) -> Callable[[object], object]:
    validate: Callable[[object], object] = LimitsRequest().fields[name].run_validation
    return validate
