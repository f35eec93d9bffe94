"""The outcomes endpoint: one or many reports, by ID or reference, corrected or repeated."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import ProtectedError
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from predictions.models import Outcome, Prediction
from predictions.testing.rows import (
    NOON,
    REGRESSOR_SIGNATURE,
    TWO_OUTPUT_SIGNATURE,
    add_values,
    classifier_signature,
    create_predictions,
    make_version,
)
from registry.models import ModelVersion
from registry.testing.clients import api_client

URL = "/api/v1/outcomes/"


@pytest.fixture
def regressor(db: None) -> ModelVersion:
    return make_version(REGRESSOR_SIGNATURE, "regressor")


@pytest.fixture
def classifier(db: None) -> ModelVersion:
    return make_version(classifier_signature([0, 1]), "classifier")


def errors_of(response: Any, status: int = 400) -> dict[str, list[str]]:
    """The errors of a refused report; nothing may have been recorded."""
    assert response.status_code == status, response.content
    assert not Outcome.objects.exists()
    errors: dict[str, list[str]] = response.json().get("errors", {})
    return errors


def test_a_value_is_recorded_by_prediction(
    client: APIClient, user: User, regressor: ModelVersion
) -> None:
    [row] = create_predictions(regressor, [1.0])

    response = client.post(
        URL, {"prediction_id": row.pk, "value": 2, "observed_at": "2026-03-01T10:00:00+01:00"}
    )

    assert (response.status_code, response.json()) == (201, {"recorded": 1, "unchanged": 0})
    outcome = Outcome.objects.get()
    assert (outcome.prediction_id, outcome.value, outcome.label) == (row.pk, 2.0, None)
    assert outcome.observed_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert outcome.user == user


@pytest.mark.parametrize("label", [1, 1.0, "1"])
def test_a_label_is_kept_as_its_version_names_it(
    client: APIClient, classifier: ModelVersion, label: Any
) -> None:
    [row] = create_predictions(classifier, [0.0])

    assert client.post(URL, {"prediction_id": row.pk, "label": label}).status_code == 201

    [listed] = client.get(URL).json()
    assert listed["label"] == 1
    assert type(listed["label"]) is int


def test_a_reference_stands_for_all_its_answered_predictions(
    client: APIClient, regressor: ModelVersion
) -> None:
    fields = {"reference": "r", "alias": "champion"}
    first, second = create_predictions(regressor, [1.0, 2.0], **fields, arm="primary")
    create_predictions(regressor, [3.0], **fields, arm="shadow", primary=first)
    create_predictions(regressor, [4.0], reference="other")

    response = client.post(URL, {"reference": "r", "value": 5.0})

    assert response.json() == {"recorded": 2, "unchanged": 0}
    assert set(Outcome.objects.values_list("prediction", flat=True)) == {first.pk, second.pk}
    assert len(client.get(f"{URL}?reference=r").json()) == 2
    assert client.get(f"{URL}?reference=other").json() == []


@pytest.mark.parametrize("field", ["prediction_id", "reference"])
def test_an_unknown_prediction_answers_404_alone_and_400_in_a_list(
    client: APIClient, regressor: ModelVersion, field: str
) -> None:
    [row] = create_predictions(regressor, [1.0], reference="r")
    known = {"prediction_id": row.pk, "value": 1.0}
    unknown = {field: row.pk + 1000 if field == "prediction_id" else "nobody", "value": 1.0}

    assert errors_of(client.post(URL, unknown), 404) == {}
    errors = errors_of(client.post(URL, {"outcomes": [known, unknown]}))

    assert list(errors) == [f"outcomes[1].{field}"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "value"),
        ({"value": 1.0, "label": "a"}, "value"),
        ({"value": 1.0, "reference": "r"}, "prediction_id"),
        ({"value": "1"}, "value"),
        ({"value": True}, "value"),
        ({"value": 1e71}, "value"),
        ({"label": "a"}, "label"),
        ({"value": 1.0, "observed_at": "yesterday"}, "observed_at"),
        ({"value": 1.0, "observed_at": "0001-01-01T00:00:00+14:00"}, "observed_at"),
        ({"value": 1.0, "observed_at": "9999-12-31T23:59:59-14:00"}, "observed_at"),
        ({"value": 1.0, "colour": "red"}, "colour"),
        ({"value": 1.0, "prediction_id": 2**63}, "prediction_id"),
        ({"value": 1.0, "prediction_id": True}, "prediction_id"),
        ({"value": 1.0, "prediction_id": None, "reference": ""}, "reference"),
        ({"value": 1.0, "prediction_id": None, "reference": "x" * 201}, "reference"),
    ],
)
def test_an_invalid_report_names_its_field(
    client: APIClient, regressor: ModelVersion, fields: dict[str, Any], field: str
) -> None:
    [row] = create_predictions(regressor, [1.0])
    report = {"prediction_id": row.pk, **fields}

    assert list(errors_of(client.post(URL, report))) == [field]
    assert list(errors_of(client.post(URL, {"outcomes": [report]}))) == [f"outcomes[0].{field}"]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"label": 2}, "Must be one of '0', '1'."),
        ({"label": True}, "Must be one of '0', '1'."),
        ({"label": [1]}, "Must be a string, a number, true or false."),
        ({"value": 1.0}, "The model is a classifier: give the true label instead of a value."),
    ],
)
def test_a_classifier_accepts_only_its_classes(
    client: APIClient, classifier: ModelVersion, report: dict[str, Any], message: str
) -> None:
    [row] = create_predictions(classifier, [1.0])

    [messages] = errors_of(client.post(URL, {"prediction_id": row.pk, **report})).values()

    assert messages == [message]


def test_the_outcome_of_a_shadow_is_refused(client: APIClient, regressor: ModelVersion) -> None:
    [row] = create_predictions(regressor, [1.0], alias="champion", arm="primary")
    [shadow] = create_predictions(regressor, [1.0], alias="champion", arm="shadow", primary=row)

    errors = errors_of(client.post(URL, {"prediction_id": shadow.pk, "value": 1.0}))

    assert str(row.pk) in errors["prediction_id"][0]


@pytest.mark.parametrize("signature", [None, TWO_OUTPUT_SIGNATURE])
def test_a_version_without_a_single_output_accepts_no_outcome(
    client: APIClient, db: None, signature: Any
) -> None:
    [row] = create_predictions(make_version(signature), [1.0])

    errors = errors_of(client.post(URL, {"prediction_id": row.pk, "value": 1.0}))

    assert "prediction_id" in errors


@pytest.mark.parametrize("outcomes", [[], "x", None, {}, [1], [[]]])
def test_an_invalid_list_is_refused(client: APIClient, db: None, outcomes: Any) -> None:
    assert errors_of(client.post(URL, {"outcomes": outcomes}))


def test_a_body_that_is_a_list_is_refused(client: APIClient, db: None) -> None:
    assert errors_of(client.post(URL, [{"prediction_id": 1, "value": 1.0}]))


def test_too_many_outcomes_are_refused(client: APIClient, db: None) -> None:
    errors = errors_of(client.post(URL, {"outcomes": [{}] * 10_001}))

    assert errors == {"outcomes": ["Must be a list of 1 to 10000 outcomes."]}


def test_a_reference_with_too_many_predictions_is_refused(
    client: APIClient, regressor: ModelVersion
) -> None:
    create_predictions(regressor, [0.0] * 1001, reference="r")

    errors = errors_of(client.post(URL, {"outcomes": [{"reference": "r", "value": 1.0}]}))

    assert "more than 1000" in errors["outcomes[0].reference"][0]


def test_a_repeated_report_is_recorded_once(client: APIClient, regressor: ModelVersion) -> None:
    [row] = create_predictions(regressor, [1.0])
    timed = {"prediction_id": row.pk, "value": 2.0, "observed_at": "2026-03-01T10:00:00Z"}
    untimed = {"prediction_id": row.pk, "value": 2.0}

    assert client.post(URL, {"outcomes": [timed, timed]}).json() == {"recorded": 1, "unchanged": 1}
    repeated = client.post(URL, timed)
    assert (repeated.status_code, repeated.json()) == (200, {"recorded": 0, "unchanged": 1})
    assert client.post(URL, untimed).status_code == 200

    assert client.post(URL, {**untimed, "value": 3.0}).status_code == 201
    # A late retry does not undo a correction; a new report does.
    assert client.post(URL, timed).status_code == 200
    assert Outcome.objects.latest_per_prediction().get().value == 3.0
    assert client.post(URL, untimed).status_code == 201
    assert Outcome.objects.latest_per_prediction().get().value == 2.0
    assert Outcome.objects.count() == 3


@pytest.mark.parametrize("field", ["prediction_id", "reference"])
def test_the_number_of_statements_does_not_depend_on_the_number_of_reports(
    client: APIClient, regressor: ModelVersion, field: str
) -> None:
    rows = create_predictions(regressor, [1.0] * 120)
    for row in rows:
        row.reference = f"r{row.pk}"
    Prediction.objects.bulk_update(rows, ["reference"])

    def count_statements(reported: list[Prediction]) -> int:
        outcomes = [
            {field: row.pk if field == "prediction_id" else row.reference, "value": 1.0}
            for row in reported
        ]
        with CaptureQueriesContext(connection) as queries:
            assert client.post(URL, {"outcomes": outcomes}).json()["recorded"] == len(reported)
        return len(queries)

    assert count_statements(rows[:2]) == count_statements(rows[2:])


def test_the_list_takes_one_query(client: APIClient, regressor: ModelVersion) -> None:
    add_values(create_predictions(regressor, [1.0] * 5), [1.0] * 5)

    with CaptureQueriesContext(connection) as queries:
        response = client.get(f"{URL}?limit=3")

    assert len(response.json()) == 3
    assert "Link" in response
    # The others load the user and both kinds of permissions, and add the audit event.
    assert len(queries) == 1 + 4


def test_the_list_is_filtered_by_prediction(client: APIClient, regressor: ModelVersion) -> None:
    rows = create_predictions(regressor, [1.0, 2.0])
    add_values(rows, [3.0, 4.0])

    [row] = client.get(f"{URL}?prediction_id={rows[1].pk}").json()

    assert (row["prediction_id"], row["value"], row["reference"]) == (rows[1].pk, 4.0, None)
    assert client.get(f"{URL}?prediction_id=0").status_code == 400


def test_outcomes_require_a_token(db: None) -> None:
    assert api_client().post(URL, {"prediction_id": 1, "value": 1.0}).status_code == 401
    assert api_client().get(URL).status_code == 401


def test_deleting_a_user_with_outcomes_is_refused(regressor: ModelVersion, user: User) -> None:
    [row] = create_predictions(regressor, [1.0])
    Outcome.objects.create(prediction=row, value=1.0, user=user, observed_at=NOON)

    with pytest.raises(ProtectedError):
        user.delete()
