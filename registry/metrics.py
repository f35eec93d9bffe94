"""The registry's Prometheus metrics."""

from prometheus_client import Counter, Gauge, Histogram

LOADED_MODELS = Gauge(
    "mlapi_loaded_models",
    "Models in memory, summed over all workers.",
    multiprocess_mode="livesum",
)
LOAD_SECONDS = Histogram(
    "mlapi_model_load_seconds",
    "Time to verify and load a model.",
    ["framework"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
MODEL_CRASHES = Counter(
    "mlapi_model_crashes_total",
    "Crashes of the process that scored a version.",
    ["model"],
)
RATE_LIMITED = Counter(
    "mlapi_rate_limited",
    "Requests refused because a rate limit was used up, by what it belongs to: a key or a model.",
    ["kind"],
)
QUARANTINED_MODELS = Gauge(
    "mlapi_quarantined_models",
    "Active versions that are refused because they crashed their process.",
    multiprocess_mode="livemax",
)
CLOCK_OFFSET_SECONDS = Gauge(
    "mlapi_clock_offset_seconds",
    "How far the database's clock is ahead of this machine's; times of rows are corrected by it.",
    multiprocess_mode="livemostrecent",
)
WORK_ITEMS = Counter(
    "mlapi_work_items",
    "Items of background work that workers have run, by kind and by whether they raised an error.",
    ["kind", "result"],
)
WORK_PENDING = Gauge(
    "mlapi_work_pending",
    "Items of background work that wait, those included that wait for another attempt.",
    ["kind"],
    multiprocess_mode="livemax",
)
WORK_OLDEST_SECONDS = Gauge(
    "mlapi_work_oldest_due_seconds",
    "How long the oldest item of background work has been due.",
    ["kind"],
    multiprocess_mode="livemax",
)
WEBHOOK_ATTEMPTS = Counter(
    "mlapi_webhook_attempts",
    "Attempts to deliver an event to a webhook: delivered, retried later, or given up.",
    ["result"],
)
