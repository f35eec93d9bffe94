"""Request and response bodies of the requests to move an alias."""

from rest_framework import serializers

from registry.exact_json.serializers import StrictSerializer, StrictTextField
from registry.models import MAX_ALIAS_LENGTH, MAX_REASON_LENGTH, AliasRequest

STATES = [*AliasRequest.Status.values, AliasRequest.EXPIRED]


class DecisionRequest(StrictSerializer):
    reason = StrictTextField(
        required=False,
        allow_blank=True,
        max_length=MAX_REASON_LENGTH,
        help_text="Recorded in the request and in the history of the alias.",
    )


class RejectionRequest(StrictSerializer):
    reason = StrictTextField(max_length=MAX_REASON_LENGTH, help_text="Recorded in the request.")


class AliasRequestQuery(serializers.Serializer[object]):
    """The list endpoint's filters."""

    name = serializers.CharField(required=False, max_length=100)
    alias = serializers.CharField(required=False, max_length=MAX_ALIAS_LENGTH)
    status = serializers.ChoiceField(required=False, choices=STATES)


class RequestedMoveSerializer(serializers.ModelSerializer[AliasRequest]):
    """A request to move an alias, and what was decided about it."""

    move = serializers.DictField(help_text="What to do, as in the body of the move.")
    requested_by = serializers.CharField(source="requested_by.username")
    status = serializers.ChoiceField(source="state", choices=STATES)
    decided_by = serializers.CharField(
        source="decided_by.username", default=None, allow_null=True, read_only=True
    )

    class Meta:
        model = AliasRequest
        fields = [
            "id",
            "kind",
            "name",
            "alias",
            "move",
            "reason",
            "requested_by",
            "created_at",
            "expires_at",
            "status",
            "decided_by",
            "decided_at",
            "decision_reason",
        ]
        read_only_fields = fields
