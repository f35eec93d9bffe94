import pytest

from benchmarks.commits.summary import (
    BARE,
    KINDS,
    Run,
    Runs,
    cpu_ratio,
    rate_targets,
    total_targets,
)
from benchmarks.harness.load import Figures


def run(per_second: int, cpu_us: float = 100) -> Run:
    return Run(Figures(per_second, 1.0, 1.0, 2.0, 3.0, refused=0, broken=0, late=0), cpu_us)


def runs(old: list[int], new: list[int]) -> Runs:
    by_side = {"old": old, "new": new}
    result: Runs = {
        (side, kind): [run(rate) for rate in rates]
        for side, rates in by_side.items()
        for kind in KINDS
    }
    return result | {(BARE, "predict"): [run(1000)]}


@pytest.mark.parametrize(("new_rate", "is_met"), [(100, True), (97, True), (96, False)])
def test_the_new_commit_may_not_be_slower(new_rate: int, is_met: bool) -> None:
    targets = rate_targets(runs([100], [new_rate]))

    assert [target.is_met for target in targets] == [is_met] * len(KINDS)


def test_a_single_slow_run_does_not_count() -> None:
    targets = rate_targets(runs([100, 100, 100], [100, 1, 100]))

    assert all(target.figure == 1 for target in targets)


def test_a_machine_that_slows_down_for_a_whole_pair_does_not_count() -> None:
    targets = rate_targets(runs([100, 50, 20], [100, 50, 20]))

    assert all(target.figure == 1 for target in targets)


def test_processor_time_is_compared_in_pairs() -> None:
    pairs: Runs = {
        ("old", "v2"): [run(1, 100), run(1, 300)],
        ("new", "v2"): [run(1, 110), run(1, 330)],
    }

    assert cpu_ratio(pairs, "v2") == pytest.approx(1.1)


def test_a_worker_that_slows_few_runs_counts_in_the_total() -> None:
    [slower] = total_targets(runs([100, 100, 100, 100], [100, 100, 100, 90]))
    [as_fast] = total_targets(runs([100, 100, 100, 100], [100, 100, 99, 99]))

    assert slower.figure == pytest.approx(0.975)
    assert [slower.is_met, as_fast.is_met] == [False, True]
