"""The random secret key of an installation without SECRET_KEY."""

import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def generated_secret_key(path: Path) -> str:
    """The key in the file `path`, which is created on first use with mode 0600.

    Processes that start together agree on one key: each writes its own file and links it to `path`,
    which succeeds for the first one only and never exposes a half-written file. Raises
    ImproperlyConfigured if the file cannot be created or read.
    """
    try:
        if not path.exists():
            _create(path)
        key = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set, and no random key can be stored in {path}: {error.strerror}"
        ) from None
    if not key:
        raise ImproperlyConfigured(f"SECRET_KEY is not set, and {path} is empty: delete that file")
    return key


def _create(path: Path) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
