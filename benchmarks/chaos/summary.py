"""The table of `python -m benchmarks chaos`."""

import argparse
from collections.abc import Sequence

from benchmarks import report
from benchmarks.chaos.phases import Outcome
from benchmarks.report import MISSING, format_figure

HEAD = [
    "fault",
    "requests",
    "acknowledged rows",
    "lost",
    "mixed",
    "doubled",
    "statuses (none: no response)",
    "longest s",
    "health port: p99 ms",
    "worst ms",
    "silent s",
    "workers' port: p99 ms",
    "unready",
    "recovery s",
    "",
]


def print_summary(outcomes: Sequence[Outcome], options: argparse.Namespace, seconds: float) -> int:
    """Print the table and the totals; returns the exit code."""
    text = render(outcomes, options.database, seconds)
    print(f"\n{text}")
    if options.markdown:
        options.markdown.write_text(text + "\n")
    raw = {"seconds": seconds, "outcomes": [outcome.as_json() for outcome in outcomes]}
    report.write_json(options.json, {"database": options.database, "seed": options.seed, **raw})
    return int(not all(outcome.is_good for outcome in outcomes))


def render(outcomes: Sequence[Outcome], database: str, seconds: float) -> str:
    """The table, the violations, the faults that were skipped, and the totals, in Markdown."""
    done = [outcome for outcome in outcomes if outcome.has_happened]
    parts = [report.table(HEAD, [_row(outcome) for outcome in done])]
    bad = [outcome for outcome in done if not outcome.is_good]
    for outcome in bad:
        examples = [f"`{example}`" for example in outcome.examples]
        details = [*outcome.violations, *outcome.delays, *examples]
        parts.append(f"**{outcome.name}**\n\n" + "\n".join(f"- {detail}" for detail in details))
    skipped = [f"- {outcome.name}: {outcome.skipped}" for outcome in outcomes if outcome.skipped]
    if skipped:
        parts.append("Skipped:\n\n" + "\n".join(skipped))
    refused = [f"- {outcome.name}: {outcome.refused}" for outcome in outcomes if outcome.refused]
    if refused:
        parts.append("Refused at registration, so it cannot happen:\n\n" + "\n".join(refused))
    balances = [outcome.balance for outcome in done if outcome.balance]
    worst = max((outcome.health.worst_ms for outcome in done if outcome.health), default=0.0)
    parts.append(
        f"{database}: {len(done)} phases in {seconds / 60:.1f} minutes,"
        f" {sum(outcome.requests for outcome in done):,} requests,"
        f" {sum(found.acknowledged for found in balances):,} rows acknowledged,"
        f" {sum(found.lost for found in balances)} lost, health at worst {worst:.0f} ms;"
        f" {len(bad)} phases with violations."
    )
    return "\n\n".join(parts)


def line(outcome: Outcome) -> str:
    """One phase in one line."""
    if outcome.skipped:
        return f"{outcome.name}: skipped, {outcome.skipped}"
    if outcome.refused:
        return f"{outcome.name}: refused at registration, {outcome.refused}"
    found = ", ".join([*outcome.violations, *outcome.delays]) or "ok"
    statuses = _statuses(outcome)
    return f"{outcome.name}: {found} ({statuses}) {'; '.join(outcome.examples)[:500]}"


def _row(outcome: Outcome) -> list[str]:
    found, health, workers = outcome.balance, outcome.health, outcome.workers_health
    assert found is not None
    assert health is not None
    assert workers is not None
    counts = (outcome.requests, found.acknowledged, found.lost, found.mixed, found.doubled)
    figures = (
        *(outcome.longest_seconds, health.p99_ms, health.worst_ms, health.silent_seconds),
        workers.p99_ms,
    )
    recovery = MISSING if outcome.recovery_seconds is None else f"{outcome.recovery_seconds:.1f}"
    return [
        outcome.name,
        *map(str, counts),
        _statuses(outcome),
        *map(format_figure, figures),
        "yes" if outcome.was_unready else "no",
        recovery,
        "ok" if outcome.is_good else "VIOLATED",
    ]


def _statuses(outcome: Outcome) -> str:
    return ", ".join(f"{status}: {n}" for status, n in outcome.statuses.items())
