"""`manage.py revoke_api_key PREFIX`: revoke an API key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.access.keys import changes
from registry.access.keys.values import SCHEME
from registry.models import ApiKey
from registry.models.access import PREFIX_LENGTH


class Command(BaseCommand):
    help = "Revoke an API key for ever: from the next request on, no process accepts it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="the key, or how it begins: mlapi_ and the prefix")

    def handle(self, *args: Any, **options: Any) -> None:
        text: str = options["key"].removeprefix(SCHEME)
        row = ApiKey.objects.filter(prefix=text[:PREFIX_LENGTH]).first()
        if row is None or text[PREFIX_LENGTH : PREFIX_LENGTH + 1] not in ("", "_"):
            start = f"{SCHEME}{text[:PREFIX_LENGTH]}"
            raise CommandError(f"There is no API key that begins with {start}")
        if row.revoked_at is not None:
            self.stdout.write(f"{row} was revoked before")
            return
        changes.revoke_key(key_id=row.pk)
        self.stdout.write(f"Revoked {row}")
