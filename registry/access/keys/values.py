"""The text of an API key: `mlapi_<prefix>_<secret>`."""

import hashlib
import re
import secrets
import string
from typing import NamedTuple

from registry.models.access import PREFIX_LENGTH

SCHEME = "mlapi_"
SECRET_BYTES = 32
PREFIX_CHARACTERS = string.ascii_lowercase + string.digits
# 43 characters of base64url hold 32 bytes.
PATTERN = re.compile(rf"{SCHEME}[a-z0-9]{{{PREFIX_LENGTH}}}_[A-Za-z0-9_-]{{43}}")


class NewValue(NamedTuple):
    """A key that was just made. The value is shown once and never stored."""

    value: str
    prefix: str
    digest: str


def generate() -> NewValue:
    prefix = "".join(secrets.choice(PREFIX_CHARACTERS) for _ in range(PREFIX_LENGTH))
    value = f"{SCHEME}{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewValue(value, prefix, digest_of(value))


def is_well_formed(value: str) -> bool:
    return PATTERN.fullmatch(value) is not None


def digest_of(value: str) -> str:
    """The SHA-256 of a key, in hexadecimal, by which it is stored and looked up.

    A slow hash with a salt protects passwords, which people choose; 256 random bits cannot be
    guessed. For the same reason the time that a look-up takes tells nothing.
    """
    return hashlib.sha256(value.encode()).hexdigest()
