"""Prometheus metrics of predictions, shown at /metrics."""

from prometheus_client import Counter, Gauge, Histogram

PREDICTIONS = Counter(
    "mlapi_predictions", "Recorded predictions by version and status.", ["model", "status"]
)
INFERENCE_SECONDS = Histogram(
    "mlapi_inference_seconds",
    "Time in the model.",
    ["model"],
    buckets=(0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)
RECORDING_SECONDS = Histogram(
    "mlapi_recording_seconds",
    "Time to commit a prediction.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)
MODEL_OVERLOADED = Counter(
    "mlapi_model_overloaded",
    "Requests refused because their version held its share of the threads, by model ID.",
    ["model_id"],
)
SHADOWS_DROPPED = Counter(
    "mlapi_shadow_dropped",
    "Inputs that a shadow did not score, by the shadow's model ID and the reason.",
    ["model_id", "reason"],
)
ALERT_MAILS_SENT = Counter(
    "mlapi_alert_mails",
    "Attempts to send a mail about an alert: sent, retried later, or given up.",
    ["result"],
)
JOBS_FINISHED = Counter(
    "mlapi_jobs_finished", "Jobs that have ended, by kind and by status.", ["kind", "status"]
)
JOBS_UNFINISHED = Gauge(
    "mlapi_jobs_unfinished",
    "Jobs that are queued or running, by kind.",
    ["kind", "status"],
    multiprocess_mode="livemax",
)
JOBS_OLDEST_QUEUED_SECONDS = Gauge(
    "mlapi_jobs_oldest_queued_seconds",
    "How long the oldest queued job has been due, by kind.",
    ["kind"],
    multiprocess_mode="livemax",
)
