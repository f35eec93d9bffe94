"""Makes clients of object storage: the one module that imports obstore. No Django here.

Import it on first use, since obstore is optional, and never before a process forks: obstore's
threads do not survive that.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import obstore as obstore
from obstore.exceptions import AlreadyExistsError as AlreadyExistsError
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.exceptions import NotSupportedError as NotSupportedError
from obstore.store import from_url

from registry.object_storage import urls
from registry.object_storage.errors import ObjectStorageError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client tries. obstore's own default retries silently for three minutes.

    A request that fails is sent again up to `max_retries` times, until `retry_seconds` after the
    first one. `request_seconds` limits each request with its body.
    """

    max_retries: int
    retry_seconds: float
    connect_seconds: int
    request_seconds: int


# For work that nobody waits for.
PATIENT = Patience(max_retries=5, retry_seconds=30, connect_seconds=5, request_seconds=60)
# What the storages call it: obstore has no error for listing a bucket that does not exist.
MISSING_BUCKET = ("<Code>NoSuchBucket</Code>", "<Code>ContainerNotFound</Code>")


def connect(url: str, patience: Patience) -> Any:
    """An obstore client for the bucket and prefix of a URL; raises ObjectStorageError.

    Keys, region and endpoint come from the environment, under the names that the storage's own
    tools read, such as AWS_ACCESS_KEY_ID, AWS_REGION and AWS_ENDPOINT_URL. Nothing is requested.
    """
    if not urls.is_plain(url):
        # The message does not quote the URL, which may contain a secret.
        raise ObjectStorageError(
            "The URL of object storage must be a bucket and a prefix, as s3://models/production,"
            " without a user, a query or a fragment; keys come from the environment"
        )
    # Passing `client_options` makes obstore ignore this variable.
    is_http_allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true"
    options: dict[str, Any] = {
        "client_options": {
            "connect_timeout": f"{patience.connect_seconds} seconds",
            "timeout": f"{patience.request_seconds} seconds",
            "allow_http": is_http_allowed,
        },
        "retry_config": {
            "max_retries": patience.max_retries,
            "retry_timeout": timedelta(seconds=patience.retry_seconds),
        },
    }
    with storage_errors(url):
        return from_url(url, **options)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Raise ObjectStorageError for an error of obstore, except FileNotFoundError,
    AlreadyExistsError and NotSupportedError.
    """
    try:
        yield
    except (FileNotFoundError, AlreadyExistsError, NotSupportedError):
        raise
    except (BaseError, OSError, ValueError) as error:
        raise ObjectStorageError(f"Cannot use {url}: {reason(error)}") from error


def is_lasting(error: BaseException | None) -> bool:
    """Whether an error of obstore will not go away by itself: credentials that are refused, a URL
    that it does not accept, or a bucket that does not exist.
    """
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError, ValueError)):
        return True
    return any(code in str(error) for code in MISSING_BUCKET)


def reason(error: Exception) -> str:
    """What the error says, in one line: obstore adds lines of detail about requests."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
