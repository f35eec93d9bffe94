"""Counts are summed from their JSON to what adding them one by one gives."""

import numpy as np
import pytest

from predictions.evaluation.drift.counts import Counts, count
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import Categories, Numbers, Table


def table(seed: int, rows: int) -> Table:
    """Rows of numbers, categories with new ones, subjects, probabilities and constraints."""
    rng = np.random.default_rng(seed)
    yes = rng.random(rows)
    values = rng.normal(0, 1 + seed % 3, rows)
    values[rng.random(rows) < 0.05] = np.nan
    return Table(
        rows,
        {
            "input:x": Numbers(values, rng.random(rows) < 0.02),
            "input:plan": Categories([f"plan {n}" for n in rng.integers(0, 5 + seed % 40, rows)]),
        },
        failed=rng.random(rows) < 0.1,
        subjects=[f"subject {n}" if n else None for n in rng.integers(0, 400, rows)],
        probabilities=np.stack((1 - yes, yes), axis=1),
        predicted=(yes > 0.5).astype(np.int64),
        violations={f"x:{seed % 2}": rng.random(rows) < 0.1},
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    labels = np.random.default_rng(1).integers(0, 2, 1000).astype(np.float64)
    profile = Profile.build(table(0, 1000), salt="salt", labels=labels, classes=["no", "yes"])
    assert profile.calibrator is not None
    return profile


@pytest.mark.parametrize("hours", [1, 2, 40])
def test_the_sum_of_documents_is_that_of_their_counts(profile: Profile, hours: int) -> None:
    sizes = np.random.default_rng(hours).integers(0, 300, hours).tolist()
    documents = [
        count(profile, table(seed, rows)).as_json() for seed, rows in enumerate(sizes, start=1)
    ]
    one_by_one = Counts.empty(profile)
    for document in documents:
        one_by_one += Counts.from_json(profile, document)

    total = Counts.sum_json(profile, documents)

    assert total.as_json() == one_by_one.as_json()
    assert total.rows == sum(sizes)


def test_hours_without_an_estimate_add_nothing_to_it(profile: Profile) -> None:
    without = count(profile, Table(5, {"input:x": Numbers(np.zeros(5))}))
    with_estimate = count(profile, table(3, 50))
    documents = [without.as_json(), with_estimate.as_json()]

    total = Counts.sum_json(profile, documents)

    assert total.as_json() == (without + with_estimate).as_json()
