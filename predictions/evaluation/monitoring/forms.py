"""The admin's form of a monitor, with the same checks as the API."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from rest_framework import serializers

from predictions.evaluation.monitoring.segments import (
    EXAMPLE,
    InvalidSegments,
    require_known_features,
)
from predictions.evaluation.monitoring.serializers import MonitorChanges
from predictions.models import Monitor
from registry.webhooks.forms import NamesField

FIELDS = (
    "name",
    "window_hours",
    "segments",
    "min_severity",
    "emails",
    "rolls_back_canary",
    "is_active",
)

if TYPE_CHECKING:
    # Generic only in the stubs.
    _ModelForm = forms.ModelForm[Monitor]
else:
    _ModelForm = forms.ModelForm


class MonitorForm(_ModelForm):
    segments = forms.JSONField(
        required=False,
        help_text=f"What else to compare by its values, as a JSON list of {EXAMPLE}.",
    )
    emails = NamesField(
        required=False,
        label="E-mail addresses",
        help_text="Addresses that alerts are sent to, one on each line.",
    )

    class Meta:
        model = Monitor
        fields = ("registered_model", *FIELDS)

    def clean_name(self) -> str:
        name: str = self._validate("name")
        return name

    def clean_window_hours(self) -> int:
        hours: int = self._validate("window_hours")
        return hours

    def clean_segments(self) -> list[Any]:
        self.cleaned_data["segments"] = self.cleaned_data["segments"] or []
        segments: list[Any] = self._validate("segments")
        return segments

    def clean_emails(self) -> list[str]:
        emails: list[str] = self._validate("emails")
        try:
            return MonitorChanges().validate_emails(emails)
        except serializers.ValidationError as error:
            raise ValidationError(_messages(error.detail)) from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        model = cleaned.get("registered_model") or getattr(self.instance, "registered_model", None)
        if model is None:
            return cleaned
        if "segments" in cleaned:
            try:
                require_known_features(cleaned["segments"], model.name)
            except InvalidSegments as error:
                self.add_error("segments", str(error))
        same = model.monitors.filter(name=cleaned.get("name")).exclude(pk=self.instance.pk)
        if same.exists():
            self.add_error("name", f"Model {model} has another monitor of this name.")
        return cleaned

    def _validate(self, name: str) -> Any:
        """Validate a value as the API does."""
        try:
            return MonitorChanges().fields[name].run_validation(self.cleaned_data[name])
        except serializers.ValidationError as error:
            raise ValidationError(_messages(error.detail)) from error


def _messages(detail: Any) -> list[str]:
    if isinstance(detail, dict):
        return [message for item in detail.values() for message in _messages(item)]
    return [str(message) for message in detail]
