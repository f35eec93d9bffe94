"""`manage.py create_api_key NAME`: make an API key, and print it once."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from registry.access.keys import changes
from registry.access.keys.serializers import MAX_DAYS
from registry.database import clock
from registry.models import RegisteredModel, Right
from registry.models.access import MAX_KEY_NAME_LENGTH
from registry.models.registered_models import MAX_RATE_LIMIT


class Command(BaseCommand):
    help = "Make an API key and print it. Nothing stores it: it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the key is for")
        owner = parser.add_mutually_exclusive_group(required=True)
        owner.add_argument("--user", help="the username of its owner")
        owner.add_argument(
            "--service-account",
            metavar="NAME",
            help="its owner: a user who cannot log in with a password, created if there is none",
        )
        parser.add_argument(
            "--scopes",
            nargs="+",
            choices=[right.value for right in Right],
            default=[Right.PREDICT.value],
            help="what it may do, of what its owner may (default: predict)",
        )
        parser.add_argument(
            "--models", nargs="+", metavar="MODEL", help="the models it is for (default: all)"
        )
        parser.add_argument(
            "--expires-days",
            type=int,
            metavar="DAYS",
            help="days after which it expires (default: as long as API_KEY_MAX_DAYS allows)",
        )
        parser.add_argument(
            "--rate-limit", type=int, metavar="N", help="requests per minute (default: no limit)"
        )

    def handle(self, *, name: str, **options: Any) -> None:
        if not 0 < len(name) <= MAX_KEY_NAME_LENGTH:
            raise CommandError(f"NAME must have 1 to {MAX_KEY_NAME_LENGTH} characters")
        limit = options["rate_limit"]
        if limit is not None and not 0 < limit <= MAX_RATE_LIMIT:
            raise CommandError(f"--rate-limit must be from 1 to {MAX_RATE_LIMIT}")
        days, models = options["expires_days"], _find_models(options["models"])
        expires_at = changes.default_expiry() if days is None else _expiry(days)
        try:
            with transaction.atomic():
                row, value = changes.create_key(
                    name=name,
                    owner=_find_owner(options["user"], options["service_account"]),
                    scopes={Right(scope) for scope in options["scopes"]},
                    models=models,
                    expires_at=expires_at,
                    rate_limit=limit,
                )
        except changes.TooManyApiKeys as error:
            raise CommandError(str(error)) from error
        end = "does not expire" if expires_at is None else f"expires on {expires_at:%Y-%m-%d}"
        self.stderr.write(f"API key {row.pk} of {row.owner} {end}. It is shown only now:")
        # Alone on standard output, so that a script can keep it.
        self.stdout.write(value)


def _expiry(days: int) -> datetime:
    limit = settings.API_KEY_MAX_DAYS or MAX_DAYS
    if not 0 < days <= limit:
        raise CommandError(f"--expires-days must be from 1 to {limit} (API_KEY_MAX_DAYS)")
    return clock.now() + timedelta(days=days)


def _find_owner(username: str | None, service_account: str | None) -> User:
    if username is not None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {username}")
        return user
    assert service_account is not None  # argparse requires one of the two
    user = User.objects.filter(username=service_account).first()
    if user is None:
        try:
            User(username=service_account).clean_fields(exclude=["password"])
        except ValidationError as error:
            raise CommandError(f"--service-account: {' '.join(error.messages)}") from error
        return User.objects.create_user(service_account)
    if user.has_usable_password():
        raise CommandError(f"{service_account} is a user with a password: use --user")
    if not user.is_active:
        raise CommandError(f"The service account {service_account} is inactive")
    return user


def _find_models(names: list[str] | None) -> list[RegisteredModel] | None:
    if names is None:
        return None
    rows = list(RegisteredModel.objects.filter(name__in=names))
    if missing := sorted(set(names) - {row.name for row in rows}):
        raise CommandError(f"There is no model {', '.join(missing)}")
    return rows
