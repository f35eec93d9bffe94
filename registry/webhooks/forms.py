"""The admin's form of a webhook, with the same checks as the API."""

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from rest_framework import serializers

from registry.models import Webhook
from registry.webhooks import events
from registry.webhooks.serializers import WebhookRequest

FIELDS = ("name", "url", "events", "model_names", "is_active")

if TYPE_CHECKING:
    # Generic only in the stubs.
    _ModelForm = forms.ModelForm[Webhook]
else:
    _ModelForm = forms.ModelForm


class NamesField(forms.CharField):
    """A list of names, one on each line."""

    widget = forms.Textarea(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        text = value if isinstance(value, str) else self.prepare_value(value or [])
        return [name for name in re.split(r"[\s,]+", text) if name]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))


class WebhookForm(_ModelForm):
    events = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen means all, those of later versions included.",
    )
    model_names = NamesField(
        required=False,
        label="Models",
        help_text="Names of registered models, one on each line. Empty means all.",
    )

    class Meta:
        model = Webhook
        fields = FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "events" in self.fields:
            choices = [
                (event.name, f"{event.name}: {event.description}") for event in events.declared()
            ]
            self.fields["events"].choices = choices  # type: ignore[attr-defined]

    def clean_url(self) -> str:
        url: str = self._validate("url", "url")
        return url

    def clean_model_names(self) -> list[str]:
        names: list[str] = self._validate("model_names", "models")
        return names

    def _validate(self, name: str, request_field: str) -> Any:
        """Validate a value as the API does."""
        try:
            return WebhookRequest().fields[request_field].run_validation(self.cleaned_data[name])
        except serializers.ValidationError as error:
            raise ValidationError(_messages(error.detail)) from error


def _messages(detail: Any) -> list[str]:
    if isinstance(detail, dict):
        return [message for item in detail.values() for message in _messages(item)]
    return [str(message) for message in detail]
