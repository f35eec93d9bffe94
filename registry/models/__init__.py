"""The registry's tables."""

from registry.models.access import ApiKey, ApiKeyNotFound, Grant, Right
from registry.models.alias_moves import AliasMove
from registry.models.alias_requests import MAX_REASON_LENGTH, AliasRequest, RequestNotFound
from registry.models.aliases import (
    CHAMPION,
    MAX_ALIAS_LENGTH,
    MAX_SHADOWS,
    Alias,
    AliasNotFound,
    AliasShadow,
    Arms,
    Route,
)
from registry.models.audit_events import AuditEvent
from registry.models.names import NAME_PATTERN, ModelNotFound
from registry.models.rate_usage import RateUsage
from registry.models.registered_models import RegisteredModel
from registry.models.versions import (
    MAX_CONCURRENCY,
    MAX_FRAMEWORK_LENGTH,
    MAX_TIMEOUT_SECONDS,
    ModelVersion,
    ModelVersionQuerySet,
    VersionChanges,
)
from registry.models.webhooks import (
    Webhook,
    WebhookDelivery,
    WebhookDeliveryQuerySet,
    WebhookNotFound,
    WebhookQuerySet,
)
from registry.models.work import RecurringWork

__all__ = [
    "CHAMPION",
    "MAX_ALIAS_LENGTH",
    "MAX_CONCURRENCY",
    "MAX_FRAMEWORK_LENGTH",
    "MAX_REASON_LENGTH",
    "MAX_SHADOWS",
    "MAX_TIMEOUT_SECONDS",
    "NAME_PATTERN",
    "Alias",
    "AliasMove",
    "AliasNotFound",
    "AliasRequest",
    "AliasShadow",
    "ApiKey",
    "ApiKeyNotFound",
    "Arms",
    "AuditEvent",
    "Grant",
    "ModelNotFound",
    "ModelVersion",
    "ModelVersionQuerySet",
    "RateUsage",
    "RecurringWork",
    "RegisteredModel",
    "RequestNotFound",
    "Right",
    "Route",
    "VersionChanges",
    "Webhook",
    "WebhookDelivery",
    "WebhookDeliveryQuerySet",
    "WebhookNotFound",
    "WebhookQuerySet",
]
