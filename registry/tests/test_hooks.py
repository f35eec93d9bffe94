"""The admin links of the app above, in the registry's admin pages."""

from collections.abc import Callable

import pytest
from django.test import Client

from registry.aliases import moves
from registry.hooks import AdminLink, Extension
from registry.models import Alias, ModelVersion
from registry.testing.aliases import extend_registry as extend_registry

Extend = Callable[[Extension], None]


@pytest.fixture
def alias(iris: ModelVersion) -> Alias:
    row, _ = moves.set_alias(name="iris", alias="champion", version="1")
    return row


def page_of(browser: Client, row: ModelVersion | Alias) -> str:
    response = browser.get(f"/admin/registry/{row._meta.model_name}/{row.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def test_registered_links_are_shown(
    admin_client: Client, iris: ModelVersion, alias: Alias, extend_registry: Extend
) -> None:
    version_link: AdminLink[ModelVersion] = AdminLink("Figures", lambda row: f"/of/{row}?a&b")
    alias_link: AdminLink[Alias] = AdminLink("<Arms>", lambda row: f"/of/{row}")
    extend_registry(Extension(version_links=[version_link], alias_links=[alias_link]))

    assert '<a href="/of/iris:1?a&amp;b">Figures</a>' in page_of(admin_client, iris)
    assert '<a href="/of/iris@champion">&lt;Arms&gt;</a>' in page_of(admin_client, alias)


def test_the_pages_work_without_an_extension(
    admin_client: Client, iris: ModelVersion, alias: Alias, extend_registry: Extend
) -> None:
    extend_registry(Extension())

    assert "/admin/predictions/prediction/?model" not in page_of(admin_client, iris)
    assert "comparison" not in page_of(admin_client, alias)
    assert admin_client.get("/admin/registry/modelversion/").status_code == 200
