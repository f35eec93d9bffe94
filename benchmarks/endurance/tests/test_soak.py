from benchmarks.endurance.soak import MIB, Sample, judge
from benchmarks.harness.processes import Usage
from benchmarks.report import Target
from benchmarks.traffic.clients import Event
from benchmarks.traffic.kinds import Acknowledged

SECONDS = 90


def samples(*megabytes: int, threads: int = 10) -> list[Sample]:
    """One sample in each third."""
    return [
        Sample(30.0 * number + 1, "worker 1", Usage(size * MIB, threads, 20))
        for number, size in enumerate(megabytes)
    ]


def events(*milliseconds: float) -> list[Event]:
    row = Acknowledged(1, 0.5, None)
    return [
        Event("predict", 30.0 * number + 1, 30.0 * number + 1 + ms / 1000, 201, acknowledged=[row])
        for number, ms in enumerate(milliseconds)
    ]


def missed(targets: list[Target]) -> list[str]:
    return [target.name for target in targets if not target.is_met]


def test_flat_run_meets_every_bound() -> None:
    assert missed(judge(samples(50, 100, 101), events(90, 10, 11), 0, SECONDS)) == []


def test_growth_after_the_warming_up_is_found() -> None:
    assert missed(judge(samples(50, 100, 120), events(10, 10, 10), 0, SECONDS)) == [
        "worker 1: memory, MiB more"
    ]


def test_slower_answers_are_found() -> None:
    found = missed(judge(samples(100, 100, 100), events(10, 10, 20), 0, SECONDS))

    assert found == ["p50, last third against second", "p99, last third against second"]


def test_single_failure_is_found() -> None:
    failed = [*events(10, 10, 10), Event("predict", 5, 6, 503)]

    assert missed(judge(samples(100, 100, 100), failed, 0, SECONDS)) == [
        "requests that did not succeed"
    ]
