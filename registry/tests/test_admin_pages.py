"""The admin's pages of versions: the list, the details, deletion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from registry.models import ModelVersion
from registry.testing.clients import text_of
from registry.testing.folders import files_below

URL = "/admin/registry/modelversion/"

MakeVersion = Callable[..., ModelVersion]

pytestmark = pytest.mark.usefixtures("model_path")


def test_the_list_shows_versions_with_and_without_a_file(
    admin_client: Client, iris: ModelVersion, make_version: MakeVersion
) -> None:
    make_version("no-file")

    page = text_of(admin_client.get(URL))

    assert "iris" in page
    assert "no file yet" in page


@pytest.mark.parametrize("n", [1, 9])
def test_the_number_of_queries_does_not_grow_with_the_list(
    admin_client: Client, make_version: MakeVersion, django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        make_version("m", version=str(i))

    # Session, user, the page's count, its rows, and the choices of the framework filter.
    with django_assert_num_queries(5):
        admin_client.get(URL)


@pytest.mark.parametrize("query", ["?q=iris", "?is_active__exact=1", "?framework=sklearn", "?o=5"])
def test_the_list_can_be_searched_filtered_and_sorted(
    admin_client: Client, iris: ModelVersion, query: str
) -> None:
    assert "iris" in text_of(admin_client.get(URL + query))


def test_a_version_shows_its_file_signature_and_metrics(
    admin_client: Client, mixed: ModelVersion
) -> None:
    mixed.update(metrics={"accuracy": 0.97, "<b>": [1, {"a": None}]}, tags={"team": "<i>x</i>"})

    response = admin_client.get(f"{URL}{mixed.pk}/change/")
    page = text_of(response)

    assert mixed.sha256 in page
    assert "city" in page
    assert "BYTES" in page
    assert "accuracy" in page
    assert "0.97" in page
    assert "scikit-learn" in page
    assert b"<i>x</i>" not in response.content
    assert f"/admin/predictions/prediction/?model__id__exact={mixed.pk}" in page


def test_a_version_without_a_file_is_shown(admin_client: Client, make_version: MakeVersion) -> None:
    page = text_of(admin_client.get(f"{URL}{make_version('no-file').pk}/change/"))

    assert "no file yet" in page
    assert 'name="model_file"' in page


def test_a_version_with_a_file_accepts_no_other(admin_client: Client, iris: ModelVersion) -> None:
    page = text_of(admin_client.get(f"{URL}{iris.pk}/change/"))

    assert 'name="model_file"' not in page
    assert 'name="name"' not in page


def test_the_form_for_a_new_version_is_shown(admin_client: Client) -> None:
    assert 'name="model_file"' in text_of(admin_client.get(f"{URL}add/"))


# -- deleting


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by", ["page", "action"])
def test_an_unused_version_is_deleted_with_its_file(
    admin_client: Client, iris: ModelVersion, model_path: Path, by: str
) -> None:
    delete(admin_client, iris, by)

    assert ModelVersion.objects.count() == 0
    assert files_below(model_path) == []


def delete(browser: Client, version: ModelVersion, by: str) -> Any:
    if by == "page":
        return browser.post(f"{URL}{version.pk}/delete/", {"post": "yes"})
    data = {"action": "delete_selected", "_selected_action": [version.pk], "post": "yes"}
    return browser.post(URL, data)


@pytest.mark.parametrize(
    ("batching", "text"),
    [("joined", "share a call of the model"), ("unbatched", "complete set of the model's tensors")],
)
def test_a_version_shows_how_its_rows_share_a_call(
    admin_client: Client, iris: ModelVersion, batching: str, text: str
) -> None:
    ModelVersion.objects.update(signature=iris.signature | {"batching": batching})

    page = text_of(admin_client.get(f"/admin/registry/modelversion/{iris.pk}/change/"))

    assert text in page
