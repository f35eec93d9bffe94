"""The admin pages of aliases, as a browser sends and reads them."""

from typing import Any

import pytest
from django.test import Client

from registry.aliases import moves
from registry.models import Alias, ModelVersion

URL = "/admin/registry/alias/"
MOVES_URL = "/admin/registry/aliasmove/"
VERSIONS_URL = "/admin/registry/modelversion/"
ADD_FORM = {"model_name": "wine", "alias_name": "next", "live_version": "1", "reason": "new"}


@pytest.fixture
def alias(versions: list[ModelVersion]) -> Alias:
    """wine@champion: version 1, with 2 as the canary and 3 as a shadow."""
    row, _ = moves.set_alias(
        name="wine", alias="champion", version="1", canary=("2", 12.5), shadows=["3"]
    )
    return row


def change(browser: Client, row: Alias, **fields: Any) -> Any:
    """Post the change form of the `alias` fixture, with some fields changed."""
    form = {"live_version": "1", "canary_version": "2", "percent": "12.5", "shadow_versions": ["3"]}
    return browser.post(f"{URL}{row.pk}/change/", {**form, **fields})


def post_rollback(browser: Client, row: Alias, **fields: Any) -> Any:
    return browser.post(f"{URL}{row.pk}/change/", {"_rollback": "1", **fields}, follow=True)
