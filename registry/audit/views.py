"""The endpoint of the audit trail: /api/v1/audit-events/."""

from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from registry.audit.serializers import AuditEventQuery, AuditEventSerializer
from registry.models import ApiKey, AuditEvent


class MayReadAuditTrail(BasePermission):
    """For users with the permission to view audit events. An API key has no scope for it."""

    message = "You may not read the audit trail."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, ApiKey):
            return False
        return bool(request.user and request.user.has_perm("registry.view_auditevent"))


class AuditEventViewSet(ListModelMixin, GenericViewSet[AuditEvent]):
    """Who did what, and who looked; newest first. Nobody can change or delete an event."""

    queryset = AuditEvent.objects.select_related("user", "api_key").newest_first()
    serializer_class = AuditEventSerializer
    query_serializer_class = AuditEventQuery
    permission_classes = [MayReadAuditTrail]
