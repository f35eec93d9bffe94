"""Every route of the service. Each answers with and without its trailing slash."""

from django.conf import settings
from django.contrib import admin
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from mlapi import auth, problems
from mlapi.health import views as health
from mlapi.metrics import UNMATCHED
from mlapi.pages.documentation import RedocView, SchemaView, SwaggerView
from mlapi.rest import schema as schema  # registers its extension of drf-spectacular
from predictions.evaluation.explanations.views import ExplanationViewSet
from predictions.evaluation.monitoring.alerts.views import AlertViewSet
from predictions.evaluation.monitoring.views import MonitorReportViewSet, MonitorViewSet
from predictions.evaluation.outcomes.views import OutcomeViewSet
from predictions.evaluation.quality.views import AliasComparisonViewSet, ModelQualityViewSet
from predictions.evaluation.references.views import ReferenceViewSet
from predictions.evaluation.replays.views import ReplayResultViewSet, ReplayViewSet
from predictions.export.views import ExportViewSet
from predictions.jobs.views import JobErrorViewSet, JobViewSet
from predictions.kserve_v1 import views as v1
from predictions.mlflow.views import InvocationsView
from predictions.open_inference import views as v2
from predictions.retention.views import ErasureViewSet, LegalHoldViewSet
from predictions.views import ModelPredictionViewSet, PredictionViewSet
from registry.access.keys.views import ApiKeyViewSet
from registry.aliases.approvals.views import AliasRequestViewSet
from registry.aliases.views import AliasMoveViewSet, AliasViewSet
from registry.audit.views import AuditEventViewSet
from registry.registered_models.views import NAME, GrantViewSet, RegisteredModelViewSet
from registry.views import ModelVersionViewSet
from registry.webhooks.views import WebhookDeliveryViewSet, WebhookViewSet


class Router(SimpleRouter):
    """Routes with an optional slash at the end, and no redirect: it would lose a POST's body."""

    def __init__(self) -> None:
        super().__init__()
        # The constructor's argument would be coerced to "/".
        self.trailing_slash = "/?"


admin.site.site_header = admin.site.site_title = settings.APP_NAME
# The index with the open alerts. That of the prediction log has its name from the app.
admin.site.index_template = "admin/predictions/index.html"

router = Router()
# Flat and first: this route gets most requests, and each level of nesting would slow them.
router.register("api/v1/predictions", PredictionViewSet, basename="prediction")
router.register("api/v1/models", ModelVersionViewSet, basename="model")
router.register("api/v1/replays", ReplayViewSet, basename="replay")
router.register("api/v1/jobs", JobViewSet, basename="job")
router.register("api/v1/api-keys", ApiKeyViewSet, basename="api-key")
router.register("api/v1/outcomes", OutcomeViewSet, basename="outcome")
router.register("api/v1/audit-events", AuditEventViewSet, basename="audit-event")
router.register("api/v1/webhooks", WebhookViewSet, basename="webhook")
router.register("api/v1/erasures", ErasureViewSet, basename="erasure")
router.register("api/v1/legal-holds", LegalHoldViewSet, basename="legal-hold")
router.register("api/v1/registered-models", RegisteredModelViewSet, basename="registered-model")
router.register("api/v1/monitors", MonitorViewSet, basename="monitor")
router.register("api/v1/alerts", AlertViewSet, basename="alert")
router.register("api/v1/alias-requests", AliasRequestViewSet, basename="alias-request")

GRANTS = rf"^api/v1/registered-models/(?P<name>{NAME})/grants"
ALIAS = r"^api/v1/aliases/(?P<name>[^/]+)/(?P<alias>[^/]+)"

WEBHOOK_DELIVERIES = r"^api/v1/webhooks/(?P<pk>[0-9]{1,19})/deliveries"

MONITOR_REPORTS = r"^api/v1/monitors/(?P<pk>[0-9]{1,19})/reports"

# A model specifier: `name`, `name@alias` or `name:version`.
SPECIFIER = r"(?P<name>[A-Za-z0-9._+@:-]{1,151})"
V1_MODEL = r"^v1/models/" + SPECIFIER
V2_MODEL = r"^v2/models/" + SPECIFIER
V2_VERSION = V2_MODEL + r"/versions/(?P<version>[A-Za-z0-9._+-]{1,50})"

handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.not_found
handler500 = problems.server_error

urlpatterns = [
    *router.urls,
    re_path(
        r"^api/v1/exports/predictions/?$",
        ExportViewSet.as_view({"get": "list"}),
        name="export-predictions",
    ),
    re_path(
        r"^api/v1/models/(?P<pk>[0-9]{1,19})/predictions/?$",
        ModelPredictionViewSet.as_view({"get": "list"}),
        name="model-predictions",
    ),
    re_path(
        r"^api/v1/models/(?P<pk>[0-9]{1,19})/invocations/?$",
        InvocationsView.as_view(),
        name="model-invocations",
    ),
    re_path(
        r"^api/v1/predictions/(?P<pk>[0-9]{1,19})/explanation/?$",
        ExplanationViewSet.as_view({"get": "retrieve"}),
        name="prediction-explanation",
    ),
    re_path(
        r"^api/v1/replays/(?P<pk>[0-9]{1,19})/results/?$",
        ReplayResultViewSet.as_view({"get": "list"}),
        name="replay-results",
    ),
    re_path(
        r"^api/v1/jobs/(?P<pk>[0-9]{1,19})/errors/?$",
        JobErrorViewSet.as_view({"get": "list"}),
        name="job-errors",
    ),
    re_path(
        r"^api/v1/models/(?P<pk>[0-9]{1,19})/reference/?$",
        ReferenceViewSet.as_view({"get": "retrieve", "put": "update"}),
        name="model-reference",
    ),
    re_path(
        r"^api/v1/models/(?P<pk>[0-9]{1,19})/quality/?$",
        ModelQualityViewSet.as_view({"get": "list"}),
        name="model-quality",
    ),
    re_path(
        MONITOR_REPORTS + r"/?$",
        MonitorReportViewSet.as_view({"get": "list"}),
        name="monitor-reports",
    ),
    re_path(
        MONITOR_REPORTS + r"/(?P<report_id>[0-9]{1,19})/?$",
        MonitorReportViewSet.as_view({"get": "retrieve"}),
        name="monitor-report",
    ),
    re_path(
        WEBHOOK_DELIVERIES + r"/?$",
        WebhookDeliveryViewSet.as_view({"get": "list"}),
        name="webhook-deliveries",
    ),
    re_path(
        WEBHOOK_DELIVERIES + r"/(?P<delivery_id>[0-9]{1,19})/resend/?$",
        WebhookDeliveryViewSet.as_view({"post": "resend"}),
        name="webhook-resend",
    ),
    re_path(GRANTS + r"/?$", GrantViewSet.as_view({"get": "list", "put": "update"}), name="grants"),
    re_path(
        GRANTS + r"/(?P<pk>[0-9]{1,19})/?$",
        GrantViewSet.as_view({"delete": "destroy"}),
        name="grant",
    ),
    re_path(r"^api/v1/aliases/?$", AliasViewSet.as_view({"get": "list"}), name="aliases"),
    re_path(
        ALIAS + r"/?$",
        AliasViewSet.as_view({"get": "retrieve", "put": "update", "delete": "destroy"}),
        name="alias",
    ),
    re_path(
        ALIAS + r"/history/?$", AliasMoveViewSet.as_view({"get": "list"}), name="alias-history"
    ),
    re_path(
        ALIAS + r"/rollback/?$", AliasViewSet.as_view({"post": "rollback"}), name="alias-rollback"
    ),
    re_path(
        ALIAS + r"/comparison/?$",
        AliasComparisonViewSet.as_view({"get": "list"}),
        name="alias-comparison",
    ),
    re_path(V2_MODEL + r"/infer/?$", v2.InferView.as_view(), name="v2-infer"),
    re_path(V2_VERSION + r"/infer/?$", v2.VersionInferView.as_view(), name="v2-version-infer"),
    re_path(V2_MODEL + r"/?$", v2.ModelView.as_view(), name="v2-model"),
    re_path(V2_VERSION + r"/?$", v2.VersionView.as_view(), name="v2-version"),
    re_path(V2_MODEL + r"/ready/?$", v2.ModelReadyView.as_view(), name="v2-model-ready"),
    re_path(V2_VERSION + r"/ready/?$", v2.VersionReadyView.as_view(), name="v2-version-ready"),
    re_path(V2_MODEL + r"/stats/?$", v2.ModelStatisticsView.as_view(), name="v2-model-stats"),
    re_path(V2_VERSION + r"/stats/?$", v2.VersionStatisticsView.as_view(), name="v2-version-stats"),
    re_path(r"^v2/repository/index/?$", v2.RepositoryIndexView.as_view(), name="v2-index"),
    re_path(r"^v2/health/live/?$", health.OpenInferenceLiveView.as_view(), name="v2-live"),
    re_path(r"^v2/health/ready/?$", health.OpenInferenceReadyView.as_view(), name="v2-ready"),
    re_path(r"^v2/?$", v2.ServerView.as_view(), name="v2-server"),
    # Before the model, since a specifier may have a colon.
    re_path(
        r"^v1/models/" + SPECIFIER + r":predict/?$", v1.PredictView.as_view(), name="v1-predict"
    ),
    re_path(r"^v1/models/" + SPECIFIER + r"/?$", v1.ModelView.as_view(), name="v1-model"),
    re_path(r"^v1/models/?$", v1.ModelsView.as_view(), name="v1-models"),
    re_path(r"^$", RedirectView.as_view(pattern_name="docs")),
    # The admin keeps Django's own paths, slash included.
    re_path(r"^admin$", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    re_path(r"^health/?$", health.health, name="health"),
    re_path(r"^health/live/?$", health.live, name="live"),
    re_path(r"^health/ready/?$", health.ready, name="ready"),
    re_path(r"^metrics/?$", health.metrics, name="metrics"),
    re_path(r"^api/v1/auth/token/?$", auth.TokenView.as_view(), name="token"),
    re_path(r"^api/v1/auth/refresh/?$", auth.RefreshView.as_view(), name="token-refresh"),
    re_path(r"^api/v1/auth/verify/?$", auth.VerifyView.as_view(), name="token-verify"),
    re_path(r"^api/schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^api/docs/?$", SwaggerView.as_view(url_name="schema"), name="docs"),
    re_path(r"^api/redoc/?$", RedocView.as_view(url_name="schema"), name="redoc"),
    # A view, because with DEBUG Django shows its own page instead of calling handler404. Exempt
    # from CSRF: otherwise a POST to an unknown path would get a 403.
    re_path(r"", csrf_exempt(problems.not_found), name=UNMATCHED),
]
