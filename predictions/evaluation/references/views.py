"""The endpoint of a version's reference: /api/v1/models/{id}/reference/."""

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from predictions.evaluation.references import scoring, services
from predictions.evaluation.references.serializers import (
    ReferenceFile,
    ReferenceOfLog,
    ReferenceSerializer,
)
from predictions.input_files.reading import format_of
from predictions.models import Reference
from registry.access import rights
from registry.access.accessor import Accessor
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, Right
from registry.views import find_visible


class ReferenceViewSet(GenericViewSet[Reference]):
    """What a version's inputs and answers look like when all is well."""

    queryset = Reference.objects.all()
    serializer_class = ReferenceSerializer
    pagination_class = None

    def get_parsers(self) -> list[BaseParser]:
        if self.request is not None and self.request.method == "PUT":
            return [import_string(path)() for path in settings.UPLOAD_PARSER_CLASSES]
        return super().get_parsers()

    @extend_schema(responses={200: ReferenceSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """The reference in force: what each variable looked like, and the digest of its profile."""
        accessor = Accessor.of(request)
        version = find_visible(int(pk), accessor)
        rights.require(accessor, Right.READ_LOG, version.name)
        row = Reference.objects.select_related("created_by").of_version(version.pk)
        return Response(self.get_serializer(row).data)

    @extend_schema(
        request={"application/json": ReferenceOfLog, "multipart/form-data": ReferenceFile},
        responses={200: ReferenceSerializer, 409: None, 413: None, 501: None},
    )
    def update(self, request: Request, pk: str) -> Response:
        """Set the reference: from a file of rows, which the version answers, or from a window of
        its predictions.

        The same rows again change nothing. Another reference replaces the one in force; all hours
        are then counted again. A window needs 1,000 rows or more; the settings MAX_REFERENCE_BYTES
        and MAX_REFERENCE_ROWS limit both. `manage.py set_reference` takes more.
        """
        accessor = Accessor.of(request)
        version = find_visible(int(pk), accessor)
        # Before the body is read: others must not send a file that is written to disk.
        rights.require(accessor, Right.MANAGE_VERSIONS, version.name)
        is_form = request.content_type.startswith("multipart/")
        payload = (ReferenceFile if is_form else ReferenceOfLog)(data=request.data)
        payload.is_valid(raise_exception=True)
        fields = payload.validated_data
        if is_form:
            reference = _from_file(version, fields, accessor)
        else:
            reference = services.set_from_log(
                version,
                accessor=accessor,
                max_rows=settings.MAX_REFERENCE_ROWS,
                max_bytes=settings.MAX_REFERENCE_BYTES,
                **fields,
            )
        return Response(self.get_serializer(reference).data)


def _from_file(version: ModelVersion, fields: JSONObject, accessor: Accessor) -> Reference:
    upload: Any = fields.pop("file")
    file_format = format_of(upload.name)
    return scoring.set_now(
        version, upload.staged_file().path, file_format, accessor=accessor, **fields
    )
