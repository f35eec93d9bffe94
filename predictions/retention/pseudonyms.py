"""Pseudonyms, which recognise a name without revealing it."""

import re

from predictions.retention.errors import NamesSubject
from registry.access import audit


def pseudonym_of(name: str) -> str:
    """The HMAC-SHA256 of a subject or reference by SECRET_KEY, in hexadecimal, as in the audit
    trail.

    Once the key changes, the same name has another pseudonym.
    """
    return audit.fingerprint(name)


def require_discreet(kind: str, name: str, reason: str) -> None:
    """Raise NamesSubject if a reason, which is kept for ever, contains the subject or reference."""
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", reason):
        raise NamesSubject(f"The reason is kept, so it must not contain the {kind}.")
