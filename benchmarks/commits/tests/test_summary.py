import pytest

from benchmarks.commits.summary import BARE, KINDS, Runs, rate_targets
from benchmarks.harness.load import Figures


def figures(per_second: int) -> Figures:
    return Figures(per_second, 1.0, 1.0, 2.0, 3.0, refused=0, broken=0, late=0)


def runs(old: list[int], new: list[int]) -> Runs:
    by_side = {"old": old, "new": new}
    result: Runs = {
        (side, kind): [figures(rate) for rate in rates]
        for side, rates in by_side.items()
        for kind in KINDS
    }
    return result | {(BARE, "predict"): [figures(1000)]}


@pytest.mark.parametrize(("new_rate", "is_met"), [(100, True), (97, True), (96, False)])
def test_the_new_commit_may_not_be_slower(new_rate: int, is_met: bool) -> None:
    targets = rate_targets(runs([100], [new_rate]))

    assert [target.is_met for target in targets] == [is_met] * len(KINDS)


def test_medians_ignore_a_single_slow_round() -> None:
    targets = rate_targets(runs([100, 100, 100], [100, 1, 100]))

    assert all(target.figure == 1 for target in targets)
