"""What the job endpoints accept and return."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from predictions.jobs import kinds
from predictions.jobs.kinds import JobKind
from predictions.jobs.visibility import may_read_parameters
from predictions.models import MAX_JOB_KIND_LENGTH, Job, JobError
from registry.access.accessor import Accessor
from registry.exact_json.serializers import JSONValueField, StrictSerializer, StrictTextField
from registry.exact_json.values import JSONObject


@extend_schema_field(OpenApiTypes.OBJECT)
class ParametersField(JSONValueField):
    """A JSON object, which the kind of job validates."""

    def to_internal_value(self, data: object) -> JSONObject:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise serializers.ValidationError("Must be an object, such as {}.")
        return value


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Replay",
            {"kind": "replay", "parameters": {"from": "wine:3", "to": "wine:4", "limit": 1000000}},
            request_only=True,
        ),
        OpenApiExample(
            "Export",
            {
                "kind": "export",
                "parameters": {
                    "to": "s3://lake/mlapi/wine-2026-11",
                    "format": "parquet",
                    "filters": {"model": "wine", "created_after": "2026-11-01T00:00:00Z"},
                },
            },
            request_only=True,
        ),
    ]
)
class JobRequest(StrictSerializer):
    kind = StrictTextField(max_length=MAX_JOB_KIND_LENGTH, help_text="What to do.")
    parameters = ParametersField(required=False, default=dict, help_text="Those of the kind.")

    def validate_kind(self, value: str) -> JobKind:
        try:
            return kinds.find(value)
        except kinds.UnknownKind as error:
            raise serializers.ValidationError(str(error)) from error

    def validate(self, attrs: JSONObject) -> JSONObject:
        payload = attrs["kind"].parameters(data=attrs["parameters"])
        if not payload.is_valid():
            raise serializers.ValidationError({"parameters": payload.errors})
        attrs["validated"] = payload.validated_data
        return attrs


class JobQuery(serializers.Serializer[object]):
    """The filters of the list of jobs."""

    kind = serializers.CharField(required=False, max_length=MAX_JOB_KIND_LENGTH)
    status = serializers.ChoiceField(required=False, choices=Job.Status.choices)
    model = serializers.CharField(required=False, max_length=100)


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job in a list."""

    model = serializers.CharField(
        source="model_name", help_text="The registered model that it is about; may be empty."
    )
    row_errors = serializers.IntegerField(
        source="error_count", help_text="How many rows had an error."
    )
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )

    class Meta:
        model = Job
        fields = [
            "id",
            "kind",
            "model",
            "status",
            "rows_done",
            "rows_expected",
            "row_errors",
            "error",
            "attempts",
            "is_cancel_requested",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Running replay",
            {
                "id": 12,
                "kind": "replay",
                "model": "wine",
                "status": "running",
                "rows_done": 420000,
                "rows_expected": 1000000,
                "row_errors": 0,
                "error": "",
                "attempts": 1,
                "is_cancel_requested": False,
                "created_by": "ada",
                "created_at": "2026-11-30T12:00:00Z",
                "started_at": "2026-11-30T12:00:01Z",
                "finished_at": None,
                "parameters": {"from": "wine:3", "to": "wine:4", "limit": 1000000},
                "result": None,
            },
            response_only=True,
        )
    ]
)
class JobDetailSerializer(JobSerializer):
    """A job with what was asked for, and its result."""

    parameters = serializers.SerializerMethodField()
    result = serializers.JSONField(
        allow_null=True, read_only=True, help_text="Null until the job has succeeded."
    )

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "parameters", "result"]
        read_only_fields = fields

    @extend_schema_field({"type": "object", "nullable": True})
    def get_parameters(self, job: Job) -> JSONObject | None:
        """As they were sent; null for those who see the job only by their right on its model."""
        if not may_read_parameters(Accessor.of(self.context["request"]), job):
            return None
        parameters: JSONObject = job.parameters
        return parameters


class JobErrorSerializer(serializers.ModelSerializer[JobError]):
    """Why one row has no answer."""

    class Meta:
        model = JobError
        fields = ["position", "reference", "message"]
        read_only_fields = fields
