"""Which version answers a model specifier: the champion, another alias or an arm of a canary."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connections
from rest_framework.test import APIClient

from predictions.models import Prediction
from predictions.serving import routing
from predictions.serving.arms import share_of
from registry.models import Alias, ModelVersion, Route

URL = "/api/v1/predictions/"
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}


def run_python(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture
def second(make_version: Callable[..., ModelVersion], iris_artifact: Any) -> ModelVersion:
    return make_version("iris", iris_artifact, version="2")


@pytest.fixture
def champion(iris: ModelVersion) -> Alias:
    return Alias.objects.create(name="iris", alias="champion", version=iris)


def predict(client: APIClient, **body: Any) -> Any:
    return client.post(URL, {"input_data": ROW, **body})


@pytest.mark.parametrize("specifier", ["iris", "iris@champion"])
def test_the_champion_answers_for_a_name(
    client: APIClient, champion: Alias, specifier: str
) -> None:
    response = predict(client, model=specifier)

    assert response.status_code == 201
    body = response.json()
    assert (body["model_id"], body["alias"], body["arm"]) == (
        champion.version_id,
        "champion",
        "primary",
    )


def test_a_version_answers_for_itself_without_an_arm(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    body = predict(client, model="iris:2").json()

    assert (body["model_id"], body["alias"], body["arm"]) == (second.pk, None, None)


def test_a_moved_alias_applies_from_the_next_request(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    before = predict(client, model="iris").json()["model_version"]
    Alias.objects.update(version=second)

    assert (before, predict(client, model="iris").json()["model_version"]) == ("1", "2")


@pytest.mark.parametrize(
    ("specifier", "detail"),
    [
        ("wine", "Model wine@champion not found: no such alias"),
        ("iris@live", "Model iris@live not found: no such alias"),
        ("iris:9", "Model iris:9 not found or inactive"),
        ("iris:", "Model iris: not found or inactive"),
        ("iris@", "Model iris@ not found: no such alias"),
        ("@", "Model @ not found: no such alias"),
    ],
)
def test_an_unknown_specifier_answers_404(
    client: APIClient, champion: Alias, specifier: str, detail: str
) -> None:
    response = predict(client, model=specifier)

    assert (response.status_code, response.json()["detail"]) == (404, detail)


def test_an_alias_of_an_inactive_version_answers_404(client: APIClient, champion: Alias) -> None:
    ModelVersion.objects.update(is_active=False)

    assert predict(client, model="iris").status_code == 404
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"model": "iris", "model_id": 1}, {"model": ""}, {"model": "x" * 152}]
)
def test_a_request_without_exactly_one_valid_target_is_400(
    client: APIClient, champion: Alias, body: dict[str, Any]
) -> None:
    response = predict(client, **body)

    assert response.status_code == 400
    assert set(response.json()["errors"]) <= {"model", "model_id"}


def test_reference_and_subject_are_stored_and_a_reference_can_be_looked_up(
    client: APIClient, champion: Alias
) -> None:
    predict(client, model="iris", reference="order-7", subject="ada")
    predict(client, model="iris", reference="order-8")

    [row] = client.get(f"{URL}?reference=order-7").json()
    assert (row["reference"], row["subject"]) == ("order-7", "ada")


@pytest.mark.parametrize("field", ["reference", "subject"])
def test_a_reference_or_subject_over_the_limit_is_400(
    client: APIClient, champion: Alias, field: str
) -> None:
    response = predict(client, model="iris", **{field: "x" * 201})

    assert list(response.json()["errors"]) == [field]


# -- canary


def test_a_subject_stays_on_one_arm(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    Alias.objects.update(canary=second, canary_percent=50)

    arms = {
        subject: {predict(client, model="iris", subject=subject).json()["arm"] for _ in range(3)}
        for subject in map(str, range(20))
    }

    assert {len(arms_of_subject) for arms_of_subject in arms.values()} == {1}
    assert set.union(*arms.values()) == {"primary", "canary"}


def test_the_arm_is_recorded_with_its_version(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    Alias.objects.update(canary=second, canary_percent=100)

    body = predict(client, model="iris", subject="ada").json()

    assert (body["model_id"], body["arm"]) == (second.pk, "canary")


def test_without_a_subject_each_request_counts_as_its_own_subject(
    client: APIClient, champion: Alias, second: ModelVersion
) -> None:
    Alias.objects.update(canary=second, canary_percent=50)

    arms = {predict(client, model="iris").json()["arm"] for _ in range(30)}

    assert arms == {"primary", "canary"}


def test_a_batch_stays_on_one_arm(client: APIClient, champion: Alias, second: ModelVersion) -> None:
    Alias.objects.update(canary=second, canary_percent=50)

    response = client.post(
        f"{URL}batch/", {"model": "iris", "inputs": [ROW] * 5, "references": [*"abcd", None]}
    )

    rows = response.json()
    assert len({row["model_id"] for row in rows}) == 1
    assert [row["reference"] for row in rows] == [*"abcd", None]


def test_a_batch_needs_one_reference_per_input(client: APIClient, champion: Alias) -> None:
    response = client.post(
        f"{URL}batch/", {"model": "iris", "inputs": [ROW] * 2, "references": ["a"]}
    )

    assert response.status_code == 400
    assert "one entry for each of the 2 inputs" in response.json()["errors"]["references"][0]


def test_too_many_references_are_rejected_with_one_error(
    client: APIClient, champion: Alias, settings: LazySettings
) -> None:
    settings.MAX_BATCH_ROWS = 3

    response = client.post(
        f"{URL}batch/", {"model": "iris", "inputs": [ROW], "references": [{}] * 100}
    )

    assert response.json()["errors"] == {"references": ["Must be a list of 1 to 3 references."]}


def test_ten_percent_select_a_tenth_of_a_hundred_thousand_subjects() -> None:
    n_subjects, fraction = 100_000, 0.1
    salt = "0123456789abcdef"

    n_selected = sum(share_of(f"subject-{i}", salt) < 100 * fraction for i in range(n_subjects))

    standard_error = (fraction * (1 - fraction) / n_subjects) ** 0.5
    assert abs(n_selected / n_subjects - fraction) <= 3 * standard_error


PRINT_SHARES = """
from predictions.serving.arms import share_of
print(*(share_of(f"subject-{i}", "salt") for i in range(100_000)))
"""


def test_every_subject_stays_on_its_arm_after_a_restart() -> None:
    # A new process with another hash seed.
    output = run_python(f"import django; django.setup()\n{PRINT_SHARES}", PYTHONHASHSEED="1")

    shares = [share_of(f"subject-{i}", "salt") for i in range(100_000)]
    assert [float(share) for share in output.split()] == shares


def test_shares_do_not_change_between_releases() -> None:
    # A recorded value: any other would reassign all subjects.
    assert share_of("ada", "salt") == pytest.approx(97.03817683367599, abs=1e-9)


def test_another_salt_reshuffles_the_subjects() -> None:
    n_in_both = sum(
        share_of(str(i), "a") < 50 and share_of(str(i), "b") < 50 for i in range(10_000)
    )

    assert 2300 < n_in_both < 2700


def test_resolving_a_name_costs_one_query(
    client: APIClient,
    champion: Alias,
    raw_statements: list[str],
    django_assert_max_num_queries: Any,
) -> None:
    # On SQLite the query goes through Django's cursor and is counted here as well.
    with django_assert_max_num_queries(1):
        assert routing.resolve("iris", subject="ada").model_id == champion.version_id

    assert len(raw_statements) == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_callers_share_a_query_and_see_each_move(
    champion: Alias, second: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    queried: list[str] = []
    look_up = routing._look_up_one

    def look_up_slowly(specifier: str) -> Route | int | Exception:
        queried.append(specifier)
        time.sleep(0.2)
        return look_up(specifier)

    monkeypatch.setattr(routing, "_look_up_one", look_up_slowly)

    def resolve(_: int) -> int:
        try:
            return routing.resolve("iris", subject="ada").model_id
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(resolve, range(20))) == {champion.version_id}
        assert len(queried) < 20
        Alias.objects.update(version=second)
        assert set(threads.map(resolve, range(20))) == {second.pk}
