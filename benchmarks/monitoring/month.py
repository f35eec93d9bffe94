"""How long does the report of a month take that reads counts of 20 features, with segments?

The counts are made in the installation, of rows at random, as no log of predictions is needed.
"""

import re

from benchmarks.harness.service import Installation

HOURS, FEATURES, SEGMENTS = 720, 20, 5
ROWS_OF_HOUR = 2000

PROGRAM = f"""
import time
from datetime import UTC, datetime, timedelta
import numpy as np
from predictions.evaluation.counting.following import row_of
from predictions.evaluation.counting.plans import Plan, profile_of
from predictions.evaluation.counting.reading import counts_of
from predictions.evaluation.drift.counts import count_segments
from predictions.evaluation.drift.findings import compare
from predictions.evaluation.drift.profiles import Profile
from predictions.evaluation.drift.tables import Categories, Numbers, Table
from predictions.models import HourCounts, Reference
from registry.models import ModelVersion

rng = np.random.default_rng(20261130)
since = datetime(2026, 1, 1, tzinfo=UTC)
names = [f"feature:plan={{number}}" for number in range({SEGMENTS})]

def table(rows):
    columns = {{f"input:f{{n}}": Numbers(rng.normal(0, 1, rows)) for n in range({FEATURES})}}
    plans = rng.integers(0, {SEGMENTS}, rows)
    columns["input:plan"] = Categories([str(plan) for plan in plans])
    subjects = [f"subject {{n}}" for n in rng.integers(0, 5000, rows)]
    return Table(rows, columns, subjects=subjects), plans

version = ModelVersion.objects.create(name="month", version="1", framework="sklearn")
profile = Profile.build(table(5000)[0], salt="salt")
reference = Reference.objects.create(
    model=version, source="file", rows=5000, profile=profile.as_json(), digest=profile.digest
)
plan = Plan(version.pk, reference.pk, profile, None, ())
rows = []
for hour in range({HOURS}):
    of_hour, plans = table({ROWS_OF_HOUR})
    masks = {{"": None}} | {{name: plans == n for n, name in enumerate(names)}}
    for segment, counts in count_segments(profile, of_hour, masks).items():
        rows.append(row_of(plan, segment, since + timedelta(hours=hour), counts))
HourCounts.objects.bulk_create(rows, batch_size=500)
for segments in ([""], ["", *names]):
    for run in range(3):
        started = time.perf_counter()
        counts = counts_of(reference, segments, since, since + timedelta(hours={HOURS}))
        findings = compare(profile_of(reference.pk), counts)
        seconds = time.perf_counter() - started
        print(f"MONTH {{len(segments)}} {{seconds:.4f}} {{counts[''].rows}} {{len(findings)}}")
"""


def report_seconds(installation: Installation) -> tuple[float, float]:
    """Of all rows, and of all rows and five segments: the best of three runs each."""
    output = installation.manage("shell", "--command", PROGRAM)
    found = re.findall(r"MONTH (\d+) ([0-9.]+) (\d+)", output)
    if {rows for _, _, rows in found} != {str(HOURS * ROWS_OF_HOUR)}:
        raise ValueError(f"The reports have other rows than were counted: {output}")
    alone, segmented = (
        min(float(seconds) for count, seconds, _ in found if count == str(segments))
        for segments in (1, SEGMENTS + 1)
    )
    return alone, segmented
