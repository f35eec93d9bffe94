"""Secrets and signatures, as the Standard Webhooks specification 1.0.0 defines them.

The secret of a webhook is not stored: it is derived from SECRET_KEY and the webhook's salt, so that
a copy of the database does not contain it. It changes with SECRET_KEY, as tokens do.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.utils.crypto import salted_hmac

SECRET_PREFIX = "whsec_"  # noqa: S105 -- not a secret
SIGNATURE_VERSION = "v1"
# Keeps these keys apart from everything else that is derived from SECRET_KEY.
_PURPOSE = "registry.webhooks.signing"


def secret_of(salt: str) -> str:
    """The secret that the receiver verifies messages with: `whsec_` and 32 bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(_key(salt)).decode()


def headers_of(
    message_id: str, at: datetime, body: bytes, salts: Sequence[str]
) -> Mapping[str, str]:
    """The three headers of a message, with one signature for each salt."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    signatures = (
        base64.b64encode(hmac.digest(_key(salt), content, hashlib.sha256)).decode()
        for salt in salts
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"{SIGNATURE_VERSION},{text}" for text in signatures),
    }


def _key(salt: str) -> bytes:
    return salted_hmac(_PURPOSE, salt, algorithm="sha256").digest()
