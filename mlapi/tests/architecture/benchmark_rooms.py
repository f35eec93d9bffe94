"""The rooms of `benchmarks`, which measures the service from outside; see `rooms`."""

# Rooms of the project that are measured by themselves, rather than through the service. All of them
# can be imported without Django.
MEASURED_DIRECTLY = {"predictions.evaluation.drift", "registry.storage.stores"}

BENCHMARK_ROOMS: dict[str, set[str]] = {
    "benchmarks": {
        "benchmarks.chaos",
        "benchmarks.commits",
        "benchmarks.consistency",
        "benchmarks.depth",
        "benchmarks.endurance",
        "benchmarks.harness",
        "benchmarks.monitoring",
        "benchmarks.partitions",
        "benchmarks.peers",
        "benchmarks.scoring",
        "benchmarks.replicas",
        "benchmarks.shadowing",
        *MEASURED_DIRECTLY,
    },
    "benchmarks.harness": set(),
    "benchmarks.commits": {
        "benchmarks.harness",
        "benchmarks.options",
        "benchmarks.peers",
        "benchmarks.report",
    },
    "benchmarks.traffic": {"benchmarks.harness"},
    "benchmarks.chaos": {
        "benchmarks.chaos.faults",
        "benchmarks.harness",
        "benchmarks.options",
        "benchmarks.report",
        "benchmarks.traffic",
    },
    "benchmarks.chaos.faults": {"benchmarks.chaos", "benchmarks.harness", "benchmarks.traffic"},
    "benchmarks.endurance": {
        "benchmarks.chaos",
        "benchmarks.harness",
        "benchmarks.options",
        "benchmarks.report",
        "benchmarks.traffic",
    },
    "benchmarks.consistency": {"benchmarks.harness", "benchmarks.options", "benchmarks.report"},
    "benchmarks.depth": {"benchmarks.harness", "benchmarks.options", "benchmarks.report"},
    "benchmarks.partitions": {
        "benchmarks.depth",
        "benchmarks.harness",
        "benchmarks.options",
        "benchmarks.report",
    },
    "benchmarks.monitoring": {
        "benchmarks.depth",
        "benchmarks.harness",
        "benchmarks.options",
        "benchmarks.report",
        *MEASURED_DIRECTLY,
    },
    # They run in environments of their own.
    "benchmarks.monitoring.programs": {"benchmarks.monitoring"},
    "benchmarks.peers": {"benchmarks.harness", "benchmarks.options", "benchmarks.report"},
    # They run in environments of their own.
    "benchmarks.peers.apps": set(),
    "benchmarks.scoring": {"benchmarks.harness", "benchmarks.options", "benchmarks.report"},
    "benchmarks.replicas": {
        "benchmarks.chaos",
        "benchmarks.harness",
        "benchmarks.options",
        "benchmarks.report",
        "benchmarks.traffic",
    },
    "benchmarks.shadowing": {"benchmarks.harness", "benchmarks.options", "benchmarks.report"},
}
