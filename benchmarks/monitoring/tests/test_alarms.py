"""The benchmark of false alarms draws what it says, and judges with every rule."""

import numpy as np
import pytest

from benchmarks.monitoring import rules
from benchmarks.monitoring.draws import SHAPES, Cell


def test_draws_follow_from_the_seed() -> None:
    cell = Cell("normal", 2, 100, 5)

    first, again = (
        [[c.tolist() for c in window] for _, windows in cell.draws(3) for window in windows]
        for _ in range(2)
    )

    assert len(first) == 5
    assert first == again
    assert first[0] != first[1]


def test_a_shift_moves_the_first_feature_alone() -> None:
    ((_, windows),) = Cell("normal", 2, 2000, 1, shift=0.5).draws(1)

    first, second = next(windows)

    assert first.mean() == pytest.approx(0.5, abs=0.1)
    assert second.mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_rules_find_another_distribution(shape: str) -> None:
    ((reference, windows),) = Cell(shape, 2, 500, 1).draws(1)
    same, other = next(windows)
    moved = np.full_like(other, "c9") if other.dtype.kind == "U" else other + 5

    assert rules.mlapi(reference)([same, moved]) == {1}
    assert 1 in rules.nannyml(reference)([same, moved])
