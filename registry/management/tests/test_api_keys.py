"""The commands for API keys."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from registry.access.keys import values
from registry.models import ApiKey, RegisteredModel, Right
from registry.testing.clients import MakeKey

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_key_for_a_service_account_is_printed_alone() -> None:
    RegisteredModel.objects.create(name="iris")

    value = run(
        "create_api_key",
        "nightly",
        "--service-account",
        "batch",
        "--scopes",
        "predict",
        "read_log",
        "--models",
        "iris",
        "--expires-days",
        "30",
    ).strip()

    row = ApiKey.objects.get()
    assert row.digest == values.digest_of(value)
    assert row.rights == [Right.PREDICT, Right.READ_LOG]
    assert [model.name for model in row.registered_models.all()] == ["iris"]
    assert not User.objects.get(username="batch").has_usable_password()
    run("create_api_key", "weekly", "--service-account", "batch")
    assert ApiKey.objects.filter(owner__username="batch").count() == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "nobody"], "no active user nobody"),
        (["--service-account", "ada"], "has_password|use --user"),
        (["--service-account", "a b"], "--service-account"),
        (["--user", "ada", "--models", "none"], "no model none"),
        (["--user", "ada", "--expires-days", "366"], "API_KEY_MAX_DAYS"),
        (["--user", "ada", "--rate-limit", "0"], "--rate-limit"),
    ],
)
def test_a_wrong_argument_makes_nothing(user: User, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("create_api_key", "nightly", *arguments)

    assert not ApiKey.objects.exists()
    assert User.objects.count() == 1


def test_keys_are_listed_and_revoked_by_prefix(user: User, make_key: MakeKey) -> None:
    key, value = make_key(user)
    start = f"mlapi_{key.prefix}"

    assert start in run("list_api_keys", "--valid")
    assert value not in run("list_api_keys")
    assert "Revoked" in run("revoke_api_key", start)
    assert "before" in run("revoke_api_key", value)
    assert start not in run("list_api_keys", "--valid")
    assert "revoked" in run("list_api_keys", "--owner", "ada")
    with pytest.raises(CommandError, match="no API key"):
        run("revoke_api_key", "mlapi_nothing")
