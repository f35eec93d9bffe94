"""Segments of a window are compared with the same segments of the reference."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.evaluation.counting import segments
from predictions.evaluation.counting.plans import profile_of
from predictions.evaluation.counting.segments import Segment, expand, key_of
from predictions.evaluation.monitoring import work
from predictions.evaluation.monitoring.segments import MAX_NOTES, notes_of
from predictions.evaluation.references import services
from predictions.evaluation.references.building import ComparedVersion
from predictions.evaluation.references.services import Source
from predictions.evaluation.references.tables import Rows
from predictions.models import Monitor, MonitorReport, Prediction, Reference
from predictions.testing.counting import DAY, count_all, monitor
from predictions.testing.monitors import MIDNIGHT
from predictions.testing.rows import make_version
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion, RegisteredModel

ROWS = 1200
SIGNATURE: JSONObject = {
    "inputs": [
        {"name": "age", "datatype": "FP64", "shape": [-1]},
        {"name": "children", "datatype": "INT64", "shape": [-1]},
        {"name": "plan", "datatype": "BYTES", "shape": [-1]},
    ],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1], "kind": "value"}],
}
database = pytest.mark.django_db(transaction=True)
BY_REGION = {"metadata": "region", "values": ["EU", "US"]}
BY_CHILDREN = {"feature": "children", "values": [0, "1"]}


def make_inputs(seed: int, rows: int = ROWS) -> list[tuple[JSONObject, JSONObject]]:
    """Inputs with metadata. In the EU, and with children, people are older by nature."""
    rng = random.Random(seed)  # noqa: S311 -- data
    made = []
    for _ in range(rows):
        region, children = rng.choice(["EU", "US"]), rng.choice([0, 0, 1, 2])
        age = rng.gauss(40 + 20 * (region == "EU") + 10 * children, 5)
        row = {"age": age, "children": children, "plan": rng.choice(["free", "gold"])}
        made.append((row, {"region": region}))
    return made


def set_reference(version: ModelVersion) -> Reference:
    """As from a file, with metadata."""
    rows = make_inputs(1, 2 * ROWS)
    answers = Rows(
        inputs=[row for row, _ in rows],
        predictions=[1.0] * len(rows),
        confidences=[None] * len(rows),
        outputs=None,
        failed=[False] * len(rows),
        metadata=[metadata for _, metadata in rows],
    )
    return services.set_reference(
        ComparedVersion(version), answers, None, source=Source(), background=[]
    )


def predict(version: ModelVersion, day: int, **moved: float) -> None:
    """Rows of a day, of which those of a region are older than usual."""
    made = []
    for number, (row, metadata) in enumerate(make_inputs(10 + day)):
        row["age"] += moved.get(metadata["region"], 0.0)
        time = MIDNIGHT + day * DAY + DAY * (number / ROWS)
        made.append(
            Prediction(
                model=version, input_data=row, metadata=metadata, prediction=1.0, created_at=time
            )
        )
    Prediction.objects.bulk_create(made)


def run(monkeypatch: pytest.MonkeyPatch) -> None:
    count_all()
    monkeypatch.setattr(work, "counted_until", lambda: MIDNIGHT + 6 * DAY)
    work.report_due(since=MIDNIGHT)


def findings() -> list[JSONObject]:
    found: list[JSONObject] = MonitorReport.objects.order_by("-until")[0].findings
    return found


def compared_segments() -> set[str]:
    return {each["segment"] for each in findings() if each["kind"] == "input_drift"}


@pytest.fixture
def version(db: None) -> ModelVersion:
    RegisteredModel.objects.get_or_create(name="m")
    return make_version(SIGNATURE)


@database
def test_segments_by_metadata_and_by_values_of_numbers_get_verdicts(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = monitor(version, [BY_REGION, BY_CHILDREN, {"feature": "age", "values": [7]}])
    set_reference(version)
    predict(version, 0)
    predict(version, 1, EU=10.0)

    run(monkeypatch)

    first = MonitorReport.objects.order_by("until")[0]
    assert [each for each in first.findings if each["severity"]] == []
    regions = {"metadata:region=EU", "metadata:region=US"}
    assert compared_segments() == {"", *regions, "feature:children=0", "feature:children=1"}
    moved = {
        each["segment"]
        for each in findings()
        if each["severity"] and each["kind"] == "input_drift" and each["variable"] == "input:age"
    }
    assert "metadata:region=EU" in moved
    assert "metadata:region=US" not in moved
    assert notes_of(watched) == [
        "Version 1: feature:age=7 is not compared. The reference has no rows of this segment"
    ]


@database
def test_few_different_numbers_can_be_segments_of_a_monitor_that_comes_later(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_reference(version)
    watched = monitor(version, [{"feature": "children"}, {"feature": "plan", "values": ["gold"]}])
    predict(version, 0)

    run(monkeypatch)

    numbers = {f"feature:children={n}" for n in range(3)}
    assert compared_segments() == {"", "feature:plan=gold", *numbers}
    assert notes_of(watched) == []


@database
def test_a_monitor_that_is_later_than_the_reference_is_told_so_until_it_is_set_again(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_reference(version)
    watched = monitor(version, [{**BY_REGION, "values": ["EU"]}, {"feature": "age"}])
    predict(version, 0)

    run(monkeypatch)

    (silent,) = (each for each in findings() if each["kind"] == "no_reference")
    assert silent["reason"].startswith("In region=EU: The reference was set before a monitor had")
    of_region, of_age = notes_of(watched)
    assert of_region.startswith("Version 1: metadata:region=EU is not compared. The reference was")
    assert of_age.startswith("Version 1: feature age has no segments")

    set_reference(version)
    assert notes_of(watched) == [of_age]
    Monitor.objects.update(segments=[{"metadata": "k", "values": list(range(50))}])
    watched.refresh_from_db()
    assert len(notes_of(watched)) == MAX_NOTES
    assert notes_of(watched)[-1] == "31 more segments are not compared"


@database
def test_a_reference_of_the_log_has_the_metadata_of_its_rows(version: ModelVersion) -> None:
    monitor(version, [BY_REGION])
    predict(version, 0)

    reference = services.set_from_log(version, since=MIDNIGHT, until=MIDNIGHT + DAY)

    profile = profile_of(reference.pk)
    rows = [profile.segments[f"metadata:region={region}"].rows for region in ("EU", "US")]
    assert sum(rows) == ROWS
    assert services.set_from_log(version, since=MIDNIGHT, until=MIDNIGHT + DAY) == reference


@database
def test_segments_of_monitors_come_first_where_there_are_too_many(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MAX_REFERENCE_SEGMENTS", 3)
    monitor(version, [BY_REGION, BY_CHILDREN])

    profile = profile_of(set_reference(version).pk)

    regions = ["metadata:region=EU", "metadata:region=US"]
    assert list(profile.segments) == [*regions, "feature:children=0"]
    assert (
        profile.notes[-1]
        == "Not compared: 1 of the monitors' segments, as a reference keeps at most 3"
    )


@database
def test_numbers_have_one_name_however_they_are_written(version: ModelVersion) -> None:
    profile = profile_of(set_reference(version).pk)
    values: list[Any] = ["1", 1, 1.0, "1e0", "x", "nan"]

    found = expand({"feature": "children", "values": values}, profile)

    assert [each.text for each in found] == [f"feature:children={v}" for v in ("1", "x", "nan")]


names = st.text(alphabet="a=\\:", min_size=1, max_size=4)


@given(names, names, names, names)
def test_no_two_segments_have_the_same_text(a: str, b: str, c: str, d: str) -> None:
    one, other = Segment("feature", a, b), Segment("feature", c, d)

    assert (one.text == other.text) == (one == other)
    assert (key_of(one.text) == key_of(other.text)) == (a == c)
