"""What the views of both of KServe's protocols read from an HTTP request."""

from rest_framework.request import Request

from predictions.authentication import TokenAuthentication
from predictions.serving.idempotency import HEADER, Claim
from registry.open_inference.binary import LENGTH_HEADER, TensorError

JSON_LENGTH = f"HTTP_{LENGTH_HEADER.upper().replace('-', '_')}"
IDEMPOTENCY_KEY = f"HTTP_{HEADER.upper().replace('-', '_')}"


def body_of(request: Request) -> bytes:
    """The body, whatever its content type."""
    return request._request.body


def claim_of(request: Request, key: object) -> Claim | None:
    """The caller's claim to answer this request once under `key`; None without a key.

    Raises TensorError, InvalidKey, or what the authentication raises.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        raise TensorError("idempotency_key must be text")
    # Repeating an earlier answer records nothing, so nothing else checks the user.
    TokenAuthentication().authenticate(request)
    path, body = request.path.rstrip("/").encode(), request._request.body
    # The length decides where the binary data begins, so it is part of the request's content.
    length = request.META.get(JSON_LENGTH, "").encode()
    return Claim.of(int(request.user.pk or 0), key, path, length, body)
