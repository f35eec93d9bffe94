"""The webhook endpoints: /api/v1/webhooks/."""

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from registry.access.accessor import Accessor
from registry.models import ApiKey, Webhook, WebhookDelivery, WebhookNotFound
from registry.webhooks import changes
from registry.webhooks.serializers import (
    WebhookDeliveryQuery,
    WebhookDeliverySerializer,
    WebhookRequest,
    WebhookSecretSerializer,
    WebhookSerializer,
)

WEBHOOKS = Webhook.objects.select_related("created_by").newest_first()
DELIVERIES = WebhookDelivery.objects.select_related("webhook").newest_first()
VIEW = ["%(app_label)s.view_%(model_name)s"]


class WebhookPermissions(DjangoModelPermissions):
    """Django's permissions on the table, reading included. An API key has none of them: no scope
    covers webhooks.
    """

    perms_map = {**DjangoModelPermissions.perms_map, "GET": VIEW, "HEAD": VIEW}

    def has_permission(self, request: Request, view: APIView) -> bool:
        return not isinstance(request.auth, ApiKey) and super().has_permission(request, view)


class ChangePermissions(WebhookPermissions):
    """The same, where a POST changes a row."""

    perms_map = {**WebhookPermissions.perms_map, "POST": WebhookPermissions.perms_map["PUT"]}


class WebhookViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet[Webhook]):
    """Register, read, change and delete the targets of events."""

    queryset = WEBHOOKS
    serializer_class = WebhookSerializer
    permission_classes = [WebhookPermissions]
    lookup_value_regex = "[0-9]{1,19}"

    def get_object(self) -> Webhook:
        return WEBHOOKS.find(int(self.kwargs["pk"]))

    @extend_schema(request=WebhookRequest, responses={201: WebhookSecretSerializer, 409: None})
    def create(self, request: Request) -> Response:
        """Register a target. The response is the only one that contains its secret."""
        payload = WebhookRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        webhook = changes.create(accessor=Accessor.of(request), **payload.validated_data)
        return Response(WebhookSecretSerializer(webhook).data, status=HTTP_201_CREATED)

    @extend_schema(request=WebhookRequest, responses={200: WebhookSerializer, 409: None})
    def partial_update(self, request: Request, pk: str) -> Response:
        webhook = self.get_object()
        payload = WebhookRequest(data=request.data, partial=True)
        payload.is_valid(raise_exception=True)
        changes.update(webhook, accessor=Accessor.of(request), **payload.validated_data)
        return Response(self.get_serializer(webhook).data)

    @extend_schema(
        responses={204: OpenApiResponse(description="Deleted, together with its deliveries.")}
    )
    def destroy(self, request: Request, pk: str) -> Response:
        changes.delete(self.get_object(), accessor=Accessor.of(request))
        return Response(status=HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={200: WebhookSecretSerializer})
    @action(detail=True, methods=["post"], permission_classes=[ChangePermissions])
    def rotate(self, request: Request, pk: str) -> Response:
        """Replace the secret. For 24 hours, messages are signed with the last one as well."""
        webhook = self.get_object()
        changes.rotate(webhook, accessor=Accessor.of(request))
        return Response(WebhookSecretSerializer(webhook).data)

    @extend_schema(request=None, responses={202: WebhookDeliverySerializer})
    @action(detail=True, methods=["post"], permission_classes=[ChangePermissions])
    def test(self, request: Request, pk: str) -> Response:
        """Send a test message to this target, whatever events it wants."""
        row = changes.send_test(self.get_object(), accessor=Accessor.of(request))
        return Response(WebhookDeliverySerializer(row).data, status=HTTP_202_ACCEPTED)


class WebhookDeliveryViewSet(ListModelMixin, GenericViewSet[WebhookDelivery]):
    """What was sent to a target and what waits, newest first."""

    queryset = DELIVERIES
    serializer_class = WebhookDeliverySerializer
    query_serializer_class = WebhookDeliveryQuery
    permission_classes = [ChangePermissions]

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        return DELIVERIES.filter(webhook_id=int(self.kwargs["pk"]))

    @extend_schema(operation_id="webhooks_deliveries_list")
    def list(self, request: Request, pk: str) -> Response:
        Webhook.objects.only("pk").find(int(pk))
        return super().list(request)

    @extend_schema(request=None, responses={202: WebhookDeliverySerializer})
    def resend(self, request: Request, pk: str, delivery_id: str) -> Response:
        """Send the message again now, with the same ID, whatever its state."""
        rows = self.get_queryset()
        row = rows.filter(pk=int(delivery_id)).first()
        if row is None:
            raise WebhookNotFound(f"Webhook {pk} has no delivery {delivery_id}")
        changes.resend(row, accessor=Accessor.of(request))
        row.refresh_from_db()
        return Response(self.get_serializer(row).data, status=HTTP_202_ACCEPTED)
