"""A version with a reference, rows of it at random, and what counting must make of them."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from predictions.evaluation.counting.log import FIELDS, LogColumns, count_rows
from predictions.evaluation.counting.plans import Plan, plan_of
from predictions.evaluation.counting.work import count_due
from predictions.evaluation.references import services
from predictions.evaluation.references.building import ComparedVersion
from predictions.evaluation.references.services import Source
from predictions.evaluation.references.tables import Rows
from predictions.models import HourCounts, Monitor, Prediction, Reference, StaleHour
from predictions.testing.monitors import MIDNIGHT
from predictions.testing.rows import NOON, make_version, wait_until_followable
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, RegisteredModel

DAY = timedelta(days=1)

CLASSES = ("no", "yes")
SIGNATURE: JSONObject = {
    "inputs": [
        {"name": "age", "datatype": "FP64", "shape": [-1], "nullable": True},
        {"name": "plan", "datatype": "BYTES", "shape": [-1], "nullable": True},
        {"name": "review", "datatype": "BYTES", "shape": [-1]},
    ],
    "outputs": [
        {
            "name": "label",
            "datatype": "BYTES",
            "shape": [-1],
            "kind": "label",
            "classes": list(CLASSES),
        },
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2], "kind": "probabilities"},
    ],
}
PLANS = ("free", "gold", "silver", None)


def churn(name: str = "churn") -> ModelVersion:
    """A version of a classifier without a file, and its registered model."""
    RegisteredModel.objects.get_or_create(name=name)
    return make_version(SIGNATURE, name)


def random_input(rng: random.Random) -> JSONObject:
    return {
        "age": rng.choice([rng.gauss(40, 10), None]) if rng.random() < 0.1 else rng.gauss(40, 10),
        "plan": rng.choice(PLANS),
        "review": f"word{rng.random()} " * rng.randint(1, 9),
    }


def answer(rng: random.Random) -> JSONObject:
    yes = rng.random()
    winner = int(yes > 0.5)
    return {
        "prediction": float(winner),
        "confidence": max(yes, 1 - yes),
        "output": {"label": CLASSES[winner], "probabilities": {"no": 1 - yes, "yes": yes}},
    }


def set_random_reference(
    version: ModelVersion, seed: int = 1, rows: int = 500, *, with_labels: bool = True
) -> Reference:
    """A reference of rows at random, as if from a file."""
    rng = random.Random(seed)  # noqa: S311 -- data
    answers = [answer(rng) for _ in range(rows)]
    return services.set_reference(
        ComparedVersion(version),
        Rows(
            inputs=[random_input(rng) for _ in range(rows)],
            predictions=[each["prediction"] for each in answers],
            confidences=[each["confidence"] for each in answers],
            outputs=[each["output"] for each in answers],
            failed=[False] * rows,
        ),
        [rng.choice(CLASSES) for _ in range(rows)] if with_labels else None,
        source=Source(),
        background=[],
    )


def random_prediction(
    version: ModelVersion, rng: random.Random, hours: int = 3, **fields: Any
) -> Prediction:
    """One within some hours after noon, mostly with a subject."""
    is_failed = rng.random() < 0.1
    state = {"status": "failed", "error": "broken"} if is_failed else answer(rng)
    return Prediction(
        **{
            "model": version,
            "input_data": random_input(rng),
            "metadata": {"region": rng.choice(["EU", "US"])} if rng.random() < 0.7 else None,
            "subject": rng.choice([None, *(f"subject {i}" for i in range(5))]),
            "latency_ms": rng.random() * 10,
            "flags": ["age:max"] if rng.random() < 0.1 else None,
            "created_at": NOON + timedelta(seconds=rng.random() * 3600 * hours),
            **state,
            **fields,
        }
    )


def create_random(version: ModelVersion, seed: int, rows: int, hours: int = 3) -> list[Prediction]:
    rng = random.Random(seed)  # noqa: S311 -- data
    return Prediction.objects.bulk_create(
        [random_prediction(version, rng, hours) for _ in range(rows)], batch_size=2000
    )


def predict_day(version: ModelVersion, day: int, rows: int = 200, *, older: float = 0) -> None:
    """Rows of one day after MIDNIGHT, with ages that are higher than the reference's."""
    rng = random.Random(day)  # noqa: S311 -- data
    start = MIDNIGHT + day * DAY
    made = []
    for number in range(rows):
        row = random_input(rng)
        row["age"] = None if row["age"] is None else row["age"] + older
        time = start + DAY * (number / rows)
        made.append(Prediction(model=version, input_data=row, created_at=time, **answer(rng)))
    Prediction.objects.bulk_create(made)


def monitor(version: ModelVersion, segments: Sequence[JSONObject], name: str = "m") -> Monitor:
    return Monitor.objects.create(
        registered_model=RegisteredModel.objects.get(name=version.name),
        name=name,
        segments=list(segments),
    )


def count_all() -> None:
    """Count everything that has been committed."""
    wait_until_followable()
    count_due()


Key = tuple[str, datetime]


def stored_counts(version: ModelVersion) -> dict[Key, JSONObject]:
    """What has been counted, of hours that need not be counted again."""
    stale = set(StaleHour.objects.filter(model=version).values_list("hour", flat=True))
    rows = HourCounts.objects.filter(reference__model=version)
    return {(row.segment, row.hour): row.counts for row in rows if row.hour not in stale}


def fresh_counts(version: ModelVersion) -> dict[Key, JSONObject]:
    """What counting must have found, from all rows at once."""
    plan = plan_of(version.pk)
    if plan is None:
        return {}
    hours = {
        row.created_at.replace(minute=0, second=0, microsecond=0)
        for row in Prediction.objects.filter(model=version)
    }
    return {
        (segment, hour): counts
        for hour in hours
        for segment, counts in _counts_of_hour(plan, hour).items()
    }


def _counts_of_hour(plan: Plan, hour: datetime) -> dict[str, JSONObject]:
    rows = Prediction.objects.filter(
        model=plan.version_id, created_at__gte=hour, created_at__lt=hour + timedelta(hours=1)
    )
    # Row by row, unlike the counting itself.
    columns: dict[str, Sequence[Any]] = {
        name: [getattr(row, name) for row in rows] for name in FIELDS
    }
    counted = count_rows(plan, LogColumns(columns, set()))
    return {segment: counts.as_json() for segment, counts in counted.items()}
