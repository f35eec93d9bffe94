"""The registry's tables."""

from registry.models.alias_moves import MAX_REASON_LENGTH, AliasMove
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
from registry.models.versions import (
    MAX_CONCURRENCY,
    MAX_FRAMEWORK_LENGTH,
    MAX_TIMEOUT_SECONDS,
    NAME_PATTERN,
    ModelNotFound,
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
    "AliasShadow",
    "Arms",
    "ModelNotFound",
    "ModelVersion",
    "ModelVersionQuerySet",
    "RecurringWork",
    "Route",
    "VersionChanges",
    "Webhook",
    "WebhookDelivery",
    "WebhookDeliveryQuerySet",
    "WebhookNotFound",
    "WebhookQuerySet",
]
