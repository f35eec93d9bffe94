"""Pseudonyms, by which a name can be recognised but not found out."""

from django.utils.crypto import salted_hmac

SALT = "mlapi.predictions.retention"


def pseudonym_of(name: str) -> str:
    """The HMAC-SHA256 of a subject or reference by SECRET_KEY, in hexadecimal.

    After the key has been changed, the same name has another one.
    """
    return salted_hmac(SALT, name, algorithm="sha256").hexdigest()
