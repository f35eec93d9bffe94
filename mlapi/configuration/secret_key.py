"""The secret key: examples that are refused, and the random key of an installation without one."""

import os
import re
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

# What people copy from documentation and templates, without case, digits and punctuation. A random
# key contains none of these; a key that is merely short is another matter (mlapi.W001).
PLACEHOLDER_PARTS = (
    "changebefore",
    "changeinproduction",
    "changeit",
    "changeme",
    "changethis",
    "djangoinsecure",
    "insertyour",
    "placeholder",
    "replaceme",
    "replacethis",
    "replacewith",
    "supersecret",
    "tokenurlsafe",
    "yourkey",
    "yourrandom",
    "yoursecret",
)
PLACEHOLDER_WORDS = frozenset(
    {
        *("admin", "default", "demo", "dev", "development", "example", "key", "mlapi", "mysecret"),
        *("mysecretkey", "none", "null", "password", "secret", "secretkey", "test", "testing"),
        *("testkey", "todo"),
    }
)
MIN_DISTINCT_CHARACTERS = 5


def is_placeholder(key: str) -> bool:
    """Whether a SECRET_KEY is an example that others know, or a few characters repeated.

    False for an empty key, which a random one replaces.
    """
    text = key.strip()
    letters = re.sub(r"[^a-z]", "", text.lower())
    return bool(text) and (
        len(set(text)) < MIN_DISTINCT_CHARACTERS
        or letters in PLACEHOLDER_WORDS
        or any(part in letters for part in PLACEHOLDER_PARTS)
    )


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
