"""Pseudonyms, by which a name can be recognised but not found out."""

from registry.access import audit


def pseudonym_of(name: str) -> str:
    """The HMAC-SHA256 of a subject or reference by SECRET_KEY, in hexadecimal, as in the audit
    trail.

    After the key has been changed, the same name has another one.
    """
    return audit.fingerprint(name)
