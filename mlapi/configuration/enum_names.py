"""The names of enumerations in the OpenAPI schema.

Without these, fields that have the same name, such as `status`, get meaningless ones.
"""

ENUM_NAMES = {
    "RightName": "registry.models.Right",
    "PredictionStatus": "predictions.models.Prediction.Status",
    "ErasureKind": "predictions.models.Erasure.Kind",
    "JobStatus": "predictions.models.Job.Status",
    "ReplayStatus": "predictions.models.Replay.Status",
    "ReplayResultStatus": "predictions.models.ReplayResult.Status",
    "ApprovalKind": "registry.models.AliasRequest.Kind",
    "WebhookDeliveryState": "registry.models.WebhookDelivery.State",
    "AlertSeverity": "predictions.models.Severity",
    "MonitorReportStatus": "predictions.models.MonitorReport.Status",
}
