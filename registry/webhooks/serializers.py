"""Request bodies and responses of the webhook endpoints."""

from collections.abc import Sequence

from rest_framework import serializers

from registry.exact_json.serializers import (
    StrictBooleanField,
    StrictSerializer,
    StrictTextField,
)
from registry.models import Webhook, WebhookDelivery
from registry.models.webhooks import MAX_EVENT_LENGTH, MAX_URL_LENGTH, MAX_WEBHOOK_NAME_LENGTH
from registry.serializers import safe_name
from registry.webhooks import events
from registry.webhooks.delivery import signing
from registry.webhooks.urls import InvalidURL, allowed_target

MAX_MODELS = 100
MAX_EVENTS = 50


class EventField(serializers.CharField):
    """The name of an event to which webhooks can subscribe."""

    def to_internal_value(self, data: str) -> str:
        name = super().to_internal_value(data)
        known = [event.name for event in events.declared()]
        if name not in known:
            raise serializers.ValidationError(
                f'"{name}" is not an event; there are {", ".join(known)}.'
            )
        return name


class URLField(StrictTextField):
    """A URL whose origin is in WEBHOOK_ORIGINS."""

    def to_internal_value(self, data: str | float) -> str:
        url = super().to_internal_value(data)
        try:
            allowed_target(url)
        except InvalidURL as error:
            raise serializers.ValidationError(f"{error}.") from error
        return url


def _without_repetition(values: Sequence[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise serializers.ValidationError("Must not list anything twice.")
    return list(values)


class WebhookRequest(StrictSerializer):
    """A target. A PATCH sends some of these fields only."""

    name = StrictTextField(max_length=MAX_WEBHOOK_NAME_LENGTH)
    url = URLField(
        max_length=MAX_URL_LENGTH,
        trim_whitespace=False,
        help_text="Where events are sent. Its origin must be in the setting WEBHOOK_ORIGINS.",
    )
    events = serializers.ListField(
        child=EventField(max_length=MAX_EVENT_LENGTH),
        required=False,
        max_length=MAX_EVENTS,
        help_text="The events to send; [] means all, those of later versions included.",
    )
    models = serializers.ListField(
        child=safe_name(100),
        required=False,
        max_length=MAX_MODELS,
        source="model_names",
        help_text="The names of the models whose events are sent; [] means all.",
    )
    is_active = StrictBooleanField(required=False)

    def validate_events(self, names: list[str]) -> list[str]:
        return _without_repetition(names)

    def validate_models(self, names: list[str]) -> list[str]:
        return _without_repetition(names)


class WebhookSerializer(serializers.Serializer[Webhook]):
    """A target, without its secret."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(child=serializers.CharField(), source="model_names")
    is_active = serializers.BooleanField()
    disabled_reason = serializers.CharField(
        allow_blank=True, help_text="Why the service has deactivated it; usually empty."
    )
    failures = serializers.IntegerField(
        help_text="Attempts in a row to which the server did not respond."
    )
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()
    rotated_at = serializers.DateTimeField(
        allow_null=True, help_text="When the secret was replaced last."
    )


class WebhookSecretSerializer(WebhookSerializer):
    """A target with its secret, which no other response contains."""

    secret = serializers.SerializerMethodField(
        help_text="Verifies the signatures of the messages. It is shown this once."
    )

    def get_secret(self, webhook: Webhook) -> str:
        return signing.secret_of(webhook.salt)


class WebhookDeliveryQuery(StrictSerializer):
    """The filters of the list of deliveries."""

    state = serializers.ChoiceField(choices=WebhookDelivery.State.choices, required=False)
    event = serializers.CharField(required=False, max_length=MAX_EVENT_LENGTH)


class WebhookDeliverySerializer(serializers.Serializer[WebhookDelivery]):
    """One event on its way to one target."""

    id = serializers.IntegerField()
    event_id = serializers.UUIDField(help_text="The ID of the message, which all targets share.")
    event = serializers.CharField()
    model = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(choices=WebhookDelivery.State.choices)
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    due_at = serializers.SerializerMethodField(help_text="The next attempt; null if there is none.")
    attempted_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(
        allow_null=True, help_text="The status of the last response; null if there was none."
    )
    last_error = serializers.CharField(allow_blank=True)
    payload = serializers.DictField()

    def get_due_at(self, row: WebhookDelivery) -> str | None:
        if row.state != WebhookDelivery.State.PENDING:
            return None
        due_at: str = serializers.DateTimeField().to_representation(row.due_at)
        return due_at
