"""How many independent rows a window has, where several rows are about one subject."""

from collections.abc import Sequence

import numpy as np
import pytest

from predictions.evaluation.drift.subjects import HashedSubjects, SubjectSample


def sample(subjects: Sequence[str | None]) -> SubjectSample:
    return HashedSubjects.of(subjects, len(subjects), "salt").sample()


def test_rows_without_subjects_are_independent() -> None:
    assert sample([None] * 500).effective_rows(500) == 500
    assert HashedSubjects.of(None, 500, "salt").sample().effective_rows(500) == 500


def test_subjects_of_equal_size_count_once() -> None:
    subjects = [f"s{row % 50}" for row in range(500)]

    assert sample(subjects).effective_rows(500) == pytest.approx(50)


def test_a_subject_with_most_rows_counts_for_little() -> None:
    subjects = ["one"] * 400 + [f"s{row}" for row in range(100)]

    assert sample(subjects).effective_rows(500) == pytest.approx(500**2 / (400**2 + 100))


def test_many_subjects_are_estimated_from_a_sample() -> None:
    subjects = [f"s{row % 5000}" for row in range(10_000)]

    found = sample(subjects)

    assert len(found.hashes) == 256
    assert found.distinct == pytest.approx(5000, rel=0.25)
    assert found.effective_rows(10_000) == pytest.approx(5000, rel=0.25)


@pytest.mark.parametrize("subjects", [40, 3000])
def test_the_sum_of_samples_is_the_sample_of_the_sum(subjects: int) -> None:
    rng = np.random.default_rng(subjects)
    rows = [None if n % 7 == 0 else f"s{n}" for n in rng.integers(0, subjects, 9000).tolist()]
    parts = [sample(rows[start : start + 1000]) for start in range(0, 9000, 1000)]

    total = SubjectSample.empty()
    for part in parts:
        total += part

    assert total.as_json() == sample(rows).as_json()
    assert SubjectSample.from_json(total.as_json()).as_json() == total.as_json()


def test_another_salt_gives_other_hashes() -> None:
    other = HashedSubjects.of(["a"], 1, "pepper").sample()

    assert other.hashes.tolist() != sample(["a"]).hashes.tolist()
