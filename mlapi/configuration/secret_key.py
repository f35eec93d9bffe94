"""The random key of an installation that sets no SECRET_KEY."""

import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def generated_secret_key(path: Path) -> str:
    """The key kept in `path`, made at first use with mode 0600.

    Processes that start together agree on one key: each writes a file of its own and links it to
    `path`, which succeeds for the first alone and never shows a half-written file. Raises
    ImproperlyConfigured where the file can be neither read nor written.
    """
    try:
        if not path.exists():
            _create(path)
        key = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set and a random one cannot be kept in {path}: {error.strerror}"
        ) from None
    if not key:
        raise ImproperlyConfigured(f"SECRET_KEY is not set and {path} is empty: delete that file")
    return key


def _create(path: Path) -> None:
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
