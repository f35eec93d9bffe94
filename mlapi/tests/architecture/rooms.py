"""The rooms of the project and what each may import of it; docs/architecture.md explains the plan.

A room is a package. A file belongs to the innermost room that contains it. An entry of ROOMS allows
a room to import the modules of another room, or a single module. Tests may import more: see
`TEST_ROOMS` and `test_imports.py`.
"""

from mlapi.tests.architecture.benchmark_rooms import BENCHMARK_ROOMS
from mlapi.tests.architecture.registry_rooms import REGISTRY, REGISTRY_ROOMS

# What the code that answers predictions uses. None of it is about evaluation.
SERVING = {
    "predictions.authentication",
    "predictions.filters",
    "predictions.following",
    "predictions.metrics",
    "predictions.models",
    "predictions.ndjson",
    "predictions.reads",
    "predictions.serializers",
    "predictions.serving",
    "predictions.serving.guards",
    "predictions.serving.limits",
}
EVALUATION = {
    "predictions.evaluation",
    "predictions.evaluation.outcomes",
    "predictions.evaluation.promotion",
    "predictions.evaluation.quality",
    "predictions.evaluation.replays",
}
# Each of these rooms builds on those before it.
DRIFT = {"predictions.evaluation.drift"}
COUNTING = DRIFT | {
    "predictions.evaluation.counting",
    "predictions.evaluation.references",
    "predictions.input_files",
}
MONITORING = COUNTING | {
    "predictions.evaluation.monitoring",
    "predictions.evaluation.monitoring.alerts",
}

# What rooms with a kind of job need to declare it.
JOBS = {"predictions.jobs"}

SCORING = {
    "predictions.scoring",
    "predictions.scoring.engines",
    "predictions.scoring.runs",
    "predictions.scoring.sources",
}

EXPORT = {"predictions.export", "predictions.export.destinations", "predictions.export.formats"}

ROOMS: dict[str, set[str]] = {
    # Floor 1: registered models, versions, artifacts, runtimes, aliases.
    **REGISTRY_ROOMS,
    # Floor 2: run a model on input, record it, list it, evaluate it.
    "predictions": {
        "predictions.authentication",
        "predictions.evaluation.charts",
        "predictions.evaluation.explanations.admin",
        "predictions.evaluation.figures",
        "predictions.evaluation.monitoring.admin",
        "predictions.evaluation.monitoring.alerts",
        "predictions.evaluation.monitoring.pages.views",
        "predictions.evaluation.monitoring.work",
        "predictions.evaluation.outcomes.admin",
        "predictions.evaluation.counting.work",
        "predictions.evaluation.promotion.gate",
        "predictions.evaluation.quality.admin",
        "predictions.evaluation.references.admin",
        "predictions.evaluation.references.scoring",
        "predictions.evaluation.replays.admin",
        "predictions.evaluation.replays.announcements",
        "predictions.evaluation.counting.jobs",
        "predictions.evaluation.monitoring.jobs",
        "predictions.evaluation.replays.jobs",
        "predictions.export.jobs",
        "predictions.jobs",
        "predictions.jobs.worker",
        "predictions.retention.jobs",
        "predictions.scoring.runs.jobs",
        "predictions.models",
        "predictions.partitions.work",
        "predictions.retention.admin",
        "predictions.retention.work",
        "predictions.serving",
        "predictions.serving.guards",
        "predictions.serving.limits",
        *REGISTRY,
    },
    "predictions.authentication": {
        "predictions.serving",
        "predictions.serving.guards",
        "predictions.serving.limits",
        *REGISTRY,
    },
    "predictions.models": {
        "registry.access",
        "registry.exact_json",
        "registry.models",
        "registry.database",
    },
    "predictions.serving": {
        "predictions.metrics",
        "predictions.models",
        "predictions.serving.guards",
        "predictions.serving.limits",
        *REGISTRY,
    },
    "predictions.serving.guards": set(REGISTRY),
    "predictions.serving.limits": {"predictions.metrics", *REGISTRY},
    "predictions.input_files": {"registry.exact_json.values", "registry.signatures"},
    "predictions.open_inference": SERVING | REGISTRY,
    "predictions.mlflow": SERVING | REGISTRY,
    "predictions.kserve_v1": SERVING
    | REGISTRY
    | {"predictions.mlflow", "predictions.open_inference"},
    # Its workers have no database, and import no Django.
    "predictions.scoring": {
        "predictions.export.columns",
        "predictions.export.destinations",
        "predictions.export.formats",
        "predictions.input_files",
        "predictions.scoring.engines.base",
        "predictions.scoring.sources",
        "predictions.serving.answers",
        "predictions.serving.arms",
        "predictions.serving.inference",
        "registry.artifacts.errors",
        "registry.exact_json.values",
        "registry.isolation",
        "registry.object_storage",
        "registry.runtimes",
        "registry.signatures",
        "registry.storage.stores",
    },
    "predictions.scoring.sources": {
        "predictions.input_files",
        "predictions.scoring.work",
        "registry.object_storage",
    },
    "predictions.scoring.engines": {
        "predictions.scoring",
        "registry.exact_json.values",
        "registry.isolation",
    },
    "predictions.scoring.runs": {
        "predictions.input_files",
        "predictions.jobs",
        "predictions.scoring",
        "predictions.scoring.engines",
        "predictions.scoring.sources",
        *EXPORT,
        *SERVING,
        *REGISTRY,
    },
    "predictions.evaluation": {
        "predictions.evaluation.quality.tasks",
        "predictions.models",
        "predictions.serving",
        *REGISTRY,
    },
    "predictions.evaluation.outcomes": SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.quality": SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.replays": JOBS | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.promotion": MONITORING | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.drift": {
        "predictions.evaluation.figures",
        "predictions.evaluation.intervals",
    },
    "predictions.evaluation.references": COUNTING | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.counting": JOBS | COUNTING | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.monitoring": JOBS | MONITORING | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.monitoring.pages": MONITORING | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.monitoring.alerts": MONITORING | SERVING | EVALUATION | REGISTRY,
    "predictions.evaluation.explanations": SERVING
    | EVALUATION
    | REGISTRY
    | {"predictions.evaluation.references"},
    "predictions.export": JOBS
    | SERVING
    | REGISTRY
    | {"predictions.export.destinations", "predictions.export.formats"},
    "predictions.export.formats": {"predictions.export", *REGISTRY},
    "predictions.export.destinations": {"registry.locks.file_locks", "registry.object_storage"},
    "predictions.partitions": SERVING | EXPORT | REGISTRY | {"registry.locks"},
    "predictions.retention": {
        "predictions.evaluation.replays.report",
        "predictions.partitions",
        *JOBS,
        *SERVING,
        *REGISTRY,
    },
    "predictions.management": {
        "predictions",
        "predictions.partitions",
        "predictions.retention",
        "registry.management",
        *SERVING,
        *EVALUATION,
    }
    | EXPORT
    | MONITORING
    | SCORING
    | REGISTRY,
    "predictions.jobs": SERVING | REGISTRY,
    "predictions.jobs.worker": {"predictions.jobs", "predictions.metrics", *SERVING, *REGISTRY},
    "predictions.templatetags": {"predictions.models"},
    "predictions.migrations": {"predictions.models", "registry.exact_json"},
    "predictions.testing": SERVING | EVALUATION | MONITORING | REGISTRY,
    # Floor 3: the project.
    "mlapi": {
        "mlapi.bodies",
        "mlapi.accounts",
        "mlapi.configuration",
        "mlapi.databases",
        "mlapi.fast_lane",
        "mlapi.health",
        "mlapi.pages",
        "mlapi.proxies",
        "mlapi.rest",
        "mlapi.server",
        "predictions",
        "predictions.evaluation.explanations",
        "predictions.kserve_v1",
        "predictions.jobs",
        "predictions.mlflow",
        "predictions.open_inference",
        "predictions.partitions",
        "predictions.retention",
        "registry.open_inference",
        *SERVING,
        *EVALUATION,
        *EXPORT,
        *MONITORING,
        *REGISTRY,
    },
    "mlapi.fast_lane": {
        "mlapi.configuration",
        "mlapi.health",
        "mlapi.metrics",
        "mlapi.middleware",
        "mlapi.pages",
        "mlapi.problems",
        "mlapi.proxies",
        "predictions.open_inference",
        "registry.open_inference",
        *SERVING,
        *REGISTRY,
    },
    "mlapi.bodies": {"mlapi.error_format", "predictions.ndjson"},
    "mlapi.accounts": {"registry.access", "registry.models"},
    "mlapi.configuration": {"mlapi.configuration.postgresql", "registry.object_storage.urls"},
    "mlapi.configuration.postgresql": {
        "mlapi.configuration.refusals",
        "registry.database.statements",
    },
    "mlapi.configuration.sqlite": {"mlapi.configuration.refusals"},
    "mlapi.databases": {"predictions.models", "registry.locks"},
    "mlapi.health": {
        "mlapi.configuration.refusals",
        "mlapi.databases",
        "mlapi.error_format",
        "mlapi.metrics",
        "mlapi.problems",
        "predictions.authentication",
        "predictions.open_inference.schema",
        "predictions.partitions.catalog",
        "predictions.partitions.errors",
        "predictions.partitions.metrics",
        "predictions.serving.recorder",
        "registry",
        "registry.access",
        "registry.database",
        "registry.loading",
        "registry.models",
    },
    # Its workers load the application, and what watches over it.
    "mlapi.server": {
        "mlapi.bodies",
        "mlapi.configuration",
        "mlapi.databases",
        "mlapi.error_format",
        "mlapi.health",
        "mlapi.metric_files",
        "mlapi.metrics",
        "mlapi.proxies",
        "mlapi.wsgi",
        "registry.loading",
        "registry.work.process",
    },
    # Pages and proxies share the middleware's types and the error format.
    "mlapi.pages": {"mlapi.middleware"},
    "mlapi.proxies": {"mlapi.configuration", "mlapi.error_format", "mlapi.middleware"},
    "mlapi.rest": {"mlapi.error_format", "registry.exact_json", "registry.artifacts"},
    "mlapi.management": SERVING
    | REGISTRY
    | {"mlapi.configuration", "mlapi.databases", "mlapi.server"}
    | {"predictions.jobs", "predictions.partitions", "registry.locks"},
    # Outside the floors: measures the service from outside.
    **BENCHMARK_ROOMS,
}

# Fixtures and fakes: only tests import them.
TEST_ROOMS = {"registry.testing", "registry.testing.object_storage", "predictions.testing"}

# The floors from the lowest; a floor imports itself and the floors below, tests included.
FLOORS = ["registry", "predictions", "mlapi"]

# Every module of these rooms can be imported without Django and REST framework.
NO_DJANGO_ROOMS = [
    "registry.signatures",
    "registry.open_inference",
    "registry.http_client",
    "registry.runtimes",
    "registry.runtimes.onnx",
    "registry.runtimes.sklearn",
    "registry.runtimes.open_inference",
    "registry.runtimes.trees",
    "registry.isolation",
    "registry.artifacts.foreign",
    "registry.conversion",
    "registry.conversion.pickles",
    "registry.object_storage",
    "registry.storage.stores",
    "predictions.evaluation.drift",
    "predictions.input_files",
    "predictions.scoring",
    "predictions.scoring.engines",
    "predictions.scoring.sources",
]
