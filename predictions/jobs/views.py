"""The endpoints of jobs: /api/v1/jobs/."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.status import HTTP_202_ACCEPTED
from rest_framework.viewsets import GenericViewSet

from predictions.jobs import changes
from predictions.jobs.pagination import JobErrorPagination
from predictions.jobs.serializers import (
    JobDetailSerializer,
    JobErrorSerializer,
    JobQuery,
    JobRequest,
    JobSerializer,
)
from predictions.jobs.visibility import readable_by, require_changeable
from predictions.models import Job, JobError
from predictions.serving.idempotency import HEADER
from registry.access.accessor import Accessor

JOBS = Job.objects.select_related("created_by").newest_first()
# How often it is worth looking at a job that has not finished.
RETRY_AFTER_SECONDS = "2"


class JobViewSet(ListModelMixin, GenericViewSet[Job]):
    """Run long work in the background, and follow its progress."""

    # What a list does not show may be large.
    queryset = JOBS.defer("parameters", "cursor", "result")
    serializer_class = JobSerializer
    query_serializer_class = JobQuery
    lookup_value_regex = "[0-9]{1,19}"

    def filter_queryset(self, queryset: Any) -> Any:
        return readable_by(Accessor.of(self.request), super().filter_queryset(queryset))

    @extend_schema(
        request=JobRequest,
        parameters=[OpenApiParameter(HEADER, str, OpenApiParameter.HEADER)],
        responses={202: JobDetailSerializer, 404: None, 409: None, 422: None},
    )
    def create(self, request: Request) -> Response:
        """Queue a job; the header Location has its address.

        `manage.py work` runs it. It takes the same rights as the request that waits for its result.
        """
        payload = JobRequest(data=request.data)
        payload.is_valid(raise_exception=True)
        fields, accessor = payload.validated_data, Accessor.of(request)
        kind = fields["kind"]
        job = changes.create(
            kind,
            fields["parameters"],
            model_name=kind.require_rights(accessor, fields["validated"]),
            accessor=accessor,
            idempotency_key=request.headers.get(HEADER),
        )
        address = reverse("job-detail", args=[job.pk], request=request) + "/"
        return self._respond(job, status=HTTP_202_ACCEPTED, headers={"Location": address})

    @extend_schema(responses={200: JobDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        return self._respond(self._find(pk))

    @extend_schema(request=None, responses={200: JobDetailSerializer, 409: None})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End a job. One that is running ends at its next step, and keeps what it has done.

        Users may cancel their own jobs, and those of models whose versions they may manage.
        """
        job, accessor = self._find(pk), Accessor.of(request)
        require_changeable(accessor, job)
        return self._respond(changes.cancel(job, accessor=accessor))

    def _find(self, pk: str) -> Job:
        return readable_by(Accessor.of(self.request), JOBS).find(int(pk))

    def _respond(self, job: Job, **options: Any) -> Response:
        data = JobDetailSerializer(job, context=self.get_serializer_context()).data
        response = Response(data, **options)
        if not job.is_finished:
            response["Retry-After"] = RETRY_AFTER_SECONDS
        return response


class JobErrorViewSet(GenericViewSet[JobError]):
    """The first errors of a job's rows, in the order of the rows."""

    queryset = JobError.objects.all()
    serializer_class = JobErrorSerializer
    pagination_class = JobErrorPagination

    @extend_schema(operation_id="jobs_errors_list")
    def list(self, request: Request, pk: str) -> Response:
        job = readable_by(Accessor.of(request), Job.objects.only("pk")).find(int(pk))
        rows = self.filter_queryset(self.get_queryset().filter(job=job))
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
