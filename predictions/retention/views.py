"""The endpoints of erasures and legal holds."""

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from predictions.models import Erasure, LegalHold
from predictions.retention import erasing, holds
from predictions.retention.serializers import (
    ErasureQuery,
    ErasureRequest,
    ErasureSerializer,
    LegalHoldQuery,
    LegalHoldRequest,
    LegalHoldSerializer,
    NewErasureSerializer,
    ReleaseRequest,
)
from registry.access.accessor import Accessor
from registry.models import ApiKey, RegisteredModel


class PrivacyPermissions(DjangoModelPermissions):
    """Django's permissions, to look as well; none for an API key, which has no such scope."""

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
    }

    def has_permission(self, request: Request, view: APIView) -> bool:
        return not isinstance(request.auth, ApiKey) and super().has_permission(request, view)


class ErasureViewSet(ListModelMixin, GenericViewSet[Erasure]):
    """Erase a subject, and list what was erased."""

    queryset = Erasure.objects.select_related("created_by").newest_first()
    serializer_class = ErasureSerializer
    query_serializer_class = ErasureQuery
    permission_classes = [PrivacyPermissions]

    @extend_schema(
        request=ErasureRequest,
        responses={201: NewErasureSerializer, 404: None, 409: None, 413: None},
    )
    def create(self, request: Request) -> Response:
        """Delete all that is recorded about a subject or reference, in one transaction.

        With the predictions go shadows, outcomes, results of replays and idempotency keys. To
        erase again what is gone deletes nothing, and is recorded too.
        """
        payload = ErasureRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        kind = Erasure.Kind.SUBJECT if "subject" in fields else Erasure.Kind.REFERENCE
        erasure = erasing.erase(
            kind=kind,
            name=fields[kind.value],
            model=fields.get("model", ""),
            reason=fields["reason"],
            accessor=Accessor.of(request),
        )
        return Response(NewErasureSerializer(erasure).data, status=HTTP_201_CREATED)


class LegalHoldViewSet(ListModelMixin, GenericViewSet[LegalHold]):
    """Keep predictions from being deleted, whatever their retention or an erasure says."""

    queryset = LegalHold.objects.select_related(
        "registered_model", "created_by", "released_by"
    ).newest_first()
    serializer_class = LegalHoldSerializer
    query_serializer_class = LegalHoldQuery
    permission_classes = [PrivacyPermissions]
    lookup_value_regex = "[0-9]{1,19}"

    @extend_schema(request=LegalHoldRequest, responses={201: LegalHoldSerializer, 404: None})
    def create(self, request: Request) -> Response:
        """Place a hold on the predictions of a model, of a subject, or of a subject by a model."""
        payload = LegalHoldRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        name = fields.get("model")
        hold = holds.place(
            registered_model=RegisteredModel.objects.find(name) if name else None,
            subject=fields.get("subject"),
            reason=fields["reason"],
            accessor=Accessor.of(request),
        )
        return Response(LegalHoldSerializer(hold).data, status=HTTP_201_CREATED)

    @extend_schema(
        request=ReleaseRequest, responses={200: LegalHoldSerializer, 404: None, 409: None}
    )
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """End a hold. Its row is kept."""
        payload = ReleaseRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        hold = holds.release(
            int(pk), reason=payload.validated_data["reason"], accessor=Accessor.of(request)
        )
        return Response(LegalHoldSerializer(hold).data)
