"""Metrics of the partitions, shown at /metrics."""

from prometheus_client import Gauge

IDS_LEFT = Gauge(
    "mlapi_log_ids_left",
    "Rows that the partitions of the log can still take; -1 for a plain table.",
    multiprocess_mode="livemin",
)
PARTITIONS_AHEAD = Gauge(
    "mlapi_log_partitions_ahead",
    "Partitions of the log that have no row yet; -1 for a plain table.",
    multiprocess_mode="livemin",
)
