from benchmarks.traffic.health import LIVE, Probe, percentile, summarize


def probe(sent_at: float, ms: float = 10.0, status: int = 200) -> Probe:
    return Probe(LIVE, sent_at, ms, status)


def test_probe_that_is_given_up_is_the_worst() -> None:
    found = summarize([probe(1), probe(2, 30), probe(3, 5000, -1), probe(4, 9000, 0)], 0, 5)

    assert (found.p99_ms, found.worst_ms) == (30, 5000)
    assert (found.timed_out, found.refused, found.probes) == (1, 1, 4)


def test_silence_lasts_from_answer_to_answer() -> None:
    assert summarize([probe(1, 0), probe(2, 0), probe(7, 0)], 0, 8).silent_seconds == 5


def test_silence_counts_up_to_the_end() -> None:
    assert summarize([probe(1, 0)], 0, 8).silent_seconds == 7


def test_percentile_of_few_values_is_the_largest() -> None:
    assert percentile([1.0, 2.0, 3.0], 99) == 3.0
    assert percentile([], 99) == 0.0
