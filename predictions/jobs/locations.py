"""Where jobs may read and write files: below the locations that the setting JOB_LOCATIONS lists."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from rest_framework import serializers

MAX_LOCATION_LENGTH = 1000
URL = re.compile(r"[a-z][a-z0-9+.-]*://")


class LocationRefused(ValueError):
    """A job may not use this location; the message is for the caller, and names no others."""


def require_allowed(location: str) -> str:
    """The location in a normal form: an absolute path without links, or a URL of object storage.

    Raises LocationRefused if it is not below one of JOB_LOCATIONS.
    """
    normal = _normal(location)
    for allowed in settings.JOB_LOCATIONS:
        if PurePosixPath(normal).is_relative_to(_normal(allowed)):
            return normal
    raise LocationRefused("Must be below a location that the setting JOB_LOCATIONS lists.")


def _normal(location: str) -> str:
    parts = location.partition("://")[2].split("/") if URL.match(location) else location.split("/")
    if ".." in parts or "." in parts or not location.isprintable():
        raise LocationRefused("Must not contain . or .. as a part, or control characters.")
    if URL.match(location):
        # A query or a fragment could give the client of the storage other options.
        if not re.fullmatch(r"[a-z0-9]+://[^/?#%@:\\]+(/[^/?#%\\]+)*/?", location):
            raise LocationRefused("Must be a URL such as s3://bucket/folder, without a query.")
        return location.rstrip("/")
    if not location.startswith("/"):
        raise LocationRefused("Must be an absolute path, or a URL such as s3://bucket/folder.")
    # Links are followed first: one below an allowed folder must not lead out of it.
    try:
        return str(Path(location).resolve())
    except (OSError, RuntimeError) as error:
        raise LocationRefused("Must not lead through a loop of links.") from error


class LocationField(serializers.CharField):
    """A location that jobs may use, in its normal form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": MAX_LOCATION_LENGTH, "trim_whitespace": False, **options})

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        # Before the validators: to resolve a path of a million parts would take minutes.
        if self.max_length is not None and len(text) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        try:
            return require_allowed(text)
        except LocationRefused as error:
            raise serializers.ValidationError(str(error)) from error
