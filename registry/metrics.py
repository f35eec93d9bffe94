"""The registry's Prometheus metrics."""

from prometheus_client import Gauge, Histogram

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
