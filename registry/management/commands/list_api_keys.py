"""`manage.py list_api_keys`: every API key, without its value."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from registry.access.keys.values import SCHEME
from registry.database import clock
from registry.models import ApiKey


class Command(BaseCommand):
    help = "List the API keys, newest first: tab-separated, one a line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", metavar="USERNAME", help="only the keys of this user")
        parser.add_argument("--valid", action="store_true", help="only the keys that are valid")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = ApiKey.objects.matching(owner=options["owner"], valid_only=options["valid"])
        head = ("prefix", "name", "owner", "state", "scopes", "models", "last used")
        self.stdout.write("\t".join(head))
        for row in rows.with_details().newest_first():
            self.stdout.write("\t".join(_columns(row)))


def _columns(row: ApiKey) -> tuple[str, ...]:
    names = ["all"] if row.all_models else [model.name for model in row.registered_models.all()]
    return (
        f"{SCHEME}{row.prefix}",
        row.name,
        row.owner.get_username(),
        _state(row),
        ",".join(row.rights),
        ",".join(names),
        "never" if row.last_used_at is None else f"{row.last_used_at:%Y-%m-%d %H:%M}",
    )


def _state(row: ApiKey) -> str:
    if row.revoked_at is not None:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    if row.expires_at is None:
        return "valid"
    verb = "expires" if row.expires_at > clock.now() else "expired"
    return f"{verb} {row.expires_at:%Y-%m-%d}"
