"""The admin's lists and pages of aliases and their moves."""

import re
from typing import Any

import pytest
from django.test import Client

from registry.aliases import moves
from registry.aliases.recording import Attribution
from registry.models import Alias, AliasMove
from registry.testing.aliases import MOVES_URL, URL
from registry.testing.aliases import alias as alias
from registry.testing.aliases import versions as versions
from registry.testing.artifacts import Artifact
from registry.testing.clients import text_of
from registry.testing.versions import MakeVersion


def test_the_list_shows_each_alias_with_its_versions(admin_client: Client, alias: Alias) -> None:
    page = text_of(admin_client.get(URL))

    assert "wine@champion" in page
    assert "2</a> for 12.5 %" in page
    assert "name__exact=wine&alias__exact=champion" in page


@pytest.mark.parametrize("n", [1, 7])
def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(
    admin_client: Client, alias: Alias, django_assert_num_queries: Any, n: int
) -> None:
    for i in range(n):
        moves.set_alias(
            name="wine", alias=f"a{i}", version="1", canary=("2", 1.0), shadows=["3", "4"]
        )

    # Session, user, the page's count, its rows, their shadows, and the choices of the filter.
    with django_assert_num_queries(6):
        admin_client.get(URL)
    with django_assert_num_queries(5):
        admin_client.get(MOVES_URL)


def test_an_alias_shows_its_versions_slider_and_history(admin_client: Client, alias: Alias) -> None:
    moves.set_alias(
        name="wine", alias="champion", version="4", attribution=Attribution("<b>better</b>")
    )

    response = admin_client.get(f"{URL}{alias.pk}/change/")
    page = text_of(response)

    assert 'type="range"' in page
    assert 'name="percent" value="12.5"' in page
    assert 'name="_rollback"' in page
    assert "version set" in page
    assert b"<b>better</b>" not in response.content


def test_a_long_history_is_shortened_with_a_link_to_all_moves(
    admin_client: Client, alias: Alias
) -> None:
    for i in range(60):
        moves.set_alias(name="wine", alias="champion", version=str(4 + i % 2))

    page = text_of(admin_client.get(f"{URL}{alias.pk}/change/"))

    assert page.count("<td>version set</td>") == 50
    assert "Older moves" in page


def test_a_move_that_ends_a_canary_shows_that_there_is_none(
    admin_client: Client, alias: Alias
) -> None:
    moves.set_alias(name="wine", alias="champion", version="1", canary=None)

    page = text_of(admin_client.get(MOVES_URL))

    shares = re.findall(r'<td class="field-canary_share">(.*?)</td>', page)
    assert shares == ["-", "2 for 12.5 %"]


def test_moves_are_read_only(admin_client: Client, alias: Alias) -> None:
    move = AliasMove.objects.get()

    assert "- → 1" in text_of(
        admin_client.get(MOVES_URL + "?name__exact=wine&alias__exact=champion")
    )
    assert admin_client.get(f"{MOVES_URL}{move.pk}/change/").status_code == 200
    assert admin_client.post(f"{MOVES_URL}{move.pk}/change/", {"reason": "x"}).status_code == 403
    assert admin_client.post(f"{MOVES_URL}{move.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{MOVES_URL}add/").status_code == 403


def test_a_name_with_a_plus_links_to_its_moves(
    admin_client: Client, make_version: MakeVersion, iris_artifact: Artifact
) -> None:
    make_version("c++", iris_artifact)
    moves.set_alias(name="c++", alias="champion", version="1")

    page = text_of(admin_client.get(URL))
    link = re.search(r'href="([^"]+)">Moves<', page)

    assert link is not None
    assert "c++@champion" in text_of(admin_client.get(link[1]))
