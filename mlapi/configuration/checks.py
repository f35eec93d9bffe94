"""System checks of the configuration; those marked `deploy` run with `check --deploy`."""

import os
from collections.abc import Sequence
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

# An HMAC key that is shorter than the hash weakens it (RFC 7518, section 3.2).
MIN_KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


@register(Tags.files)
def check_model_path(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.E001: uploads would fail."""
    path = Path(settings.MODEL_PATH)
    if can_create_files_in(path):
        return []
    return [
        Error(
            f"MODEL_PATH is not a writable folder: {path}",
            hint="Set MODEL_PATH to a folder that this user can write to.",
            id="mlapi.E001",
        )
    ]


@register(Tags.security)
def check_secret_key_length(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.W001: a short key can be guessed, and tokens forged with it."""
    algorithm = str(settings.SIMPLE_JWT["ALGORITHM"])
    minimum, length = MIN_KEY_BYTES[algorithm], len(settings.SECRET_KEY.encode())
    if length >= minimum:
        return []
    return [
        Warning(
            f"SECRET_KEY has {length} bytes; {algorithm} needs at least {minimum}.",
            hint="Generate one: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
            id="mlapi.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_secret_key_is_set(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.W002: another machine or a new container would generate a different key."""
    if not settings.SECRET_KEY_IS_GENERATED or _other_machines_can_use_the_database():
        return []
    return [_generated_key("SECRET_KEY is not set")]


@register(Tags.security)
def check_replicas_have_the_same_secret_key(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.W002, without --deploy too: replicas would refuse each other's tokens."""
    if not settings.SECRET_KEY_IS_GENERATED or not _other_machines_can_use_the_database():
        return []
    return [_generated_key("SECRET_KEY is not set, but other machines can serve the same database")]


def _other_machines_can_use_the_database() -> bool:
    return connection.vendor != "sqlite"


def _generated_key(problem: str) -> CheckMessage:
    return Warning(
        f"{problem}: this installation uses a random key that it keeps in a file.",
        hint="Set SECRET_KEY to the same value on all machines that serve.",
        id="mlapi.W002",
    )


@register(Tags.security, deploy=True)
def check_debug_is_off(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.W003: error pages of the admin would reveal settings and code."""
    if not settings.DEBUG:
        return []
    return [Warning("DEBUG is on.", hint="Set DEBUG=false.", id="mlapi.W003")]


@register(Tags.security)
def check_https_is_recognised(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.W004: `serve` speaks plain http, so that every request would be redirected for ever."""
    if not settings.SECURE_SSL_REDIRECT or settings.SECURE_PROXY_SSL_HEADER:
        return []
    return [
        Warning(
            "SSL_REDIRECT is on, but FORWARDED_PROTO_HEADER is not set: a request that reached the"
            " proxy by https is redirected to https again, in a loop.",
            hint="Set FORWARDED_PROTO_HEADER to the header in which the proxy reports https, such"
            " as X-Forwarded-Proto.",
            id="mlapi.W004",
        )
    ]


@register()
def check_variables_have_effect(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[CheckMessage]:
    """mlapi.W005: a misspelt setting leaves its default in force."""
    descriptions: Sequence[str] = settings.VARIABLES_WITHOUT_EFFECT
    hint = ".env.example lists all settings."
    return [Warning(text, hint=hint, id="mlapi.W005") for text in descriptions]


def can_create_files_in(folder: Path) -> bool:
    """Whether files can be created in `folder`, or the folder itself if it is missing."""
    existing = folder
    while not existing.exists():
        if existing == existing.parent:
            return False
        existing = existing.parent
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
