"""System checks of the configuration; those of deployment run under `check --deploy`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

# An HMAC key shorter than its hash weakens it (RFC 7518, section 3.2).
KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


@register(Tags.files)
def check_model_path(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """mlapi.E001: uploads would fail."""
    path = Path(settings.MODEL_PATH)
    if is_writable_folder(path):
        return []
    return [
        Error(
            f"MODEL_PATH is not writable: {path}",
            hint="Set MODEL_PATH to a folder that this user can write to.",
            id="mlapi.E001",
        )
    ]


@register(Tags.security)
def check_key_length(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """mlapi.W001: tokens could be forged by trying keys."""
    algorithm = str(settings.SIMPLE_JWT["ALGORITHM"])
    needed, given = KEY_BYTES[algorithm], len(settings.SECRET_KEY.encode())
    if given >= needed:
        return []
    return [
        Warning(
            f"SECRET_KEY has {given} bytes; {algorithm} needs {needed}.",
            hint="Make one: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
            id="mlapi.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_key_is_set(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """mlapi.W002: another machine, or a new container, would have another key."""
    if not settings.SECRET_KEY_IS_GENERATED:
        return []
    return [
        Warning(
            "SECRET_KEY is not set: a random one is kept in a file of this installation.",
            hint="Set SECRET_KEY, the same for all machines that serve.",
            id="mlapi.W002",
        )
    ]


@register(Tags.security, deploy=True)
def check_debug_is_off(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """mlapi.W003: the admin's error pages would show settings and code."""
    if not settings.DEBUG:
        return []
    return [Warning("DEBUG is on.", hint="Set DEBUG=false.", id="mlapi.W003")]


def is_writable_folder(path: Path) -> bool:
    """Whether files can be made in `path`, or `path` itself be made."""
    existing = path
    while not existing.exists():
        if existing == existing.parent:
            return False
        existing = existing.parent
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
