"""Artifacts over HTTP: whole or in part, with their digest, and recorded in the audit trail."""

import base64
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import BinaryIO

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response

from registry.access import audit, rights
from registry.access.accessor import Accessor
from registry.artifacts.errors import StorageFull, StorageUnavailable
from registry.loading.errors import ArtifactMissing, ModelNotReady
from registry.models import AuditEvent, ModelVersion, Right
from registry.object_storage import urls
from registry.storage import files
from registry.storage.stores.base import ArtifactDamaged

logger = logging.getLogger(__name__)

VIEW_PERMISSION = "registry.view_modelversion"
SINGLE_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
BLOCK_BYTES = 256 * 1024


def require_right(accessor: Accessor, version: ModelVersion) -> None:
    """Raise ModelNotFound or PermissionDenied unless the accessor may download the artifact.

    Users who manage the model's versions may, and those with Django's permission to view versions.
    """
    user = accessor.user
    if accessor.key is None and user is not None and user.has_perm(VIEW_PERMISSION):
        return
    rights.require(accessor, Right.MANAGE_VERSIONS, version.name)


def download(request: HttpRequest, version: ModelVersion, accessor: Accessor) -> HttpResponseBase:
    """The version's artifact, as the headers of the request ask for it (RFC 9110, RFC 9530).

    Raises ArtifactMissing if the version has none yet, and ModelNotReady if the file is missing or
    is not the one that was registered.
    """
    size = _size(version)
    etag = f'"{version.sha256}"'
    start, end = _range(request, etag, size) or (0, size)
    if start >= end:
        refusal = HttpResponse(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        refusal.headers["Content-Range"] = f"bytes */{size}"
        return refusal
    unchanged = get_conditional_response(request, etag=etag)
    if unchanged is not None:
        return unchanged
    response: HttpResponseBase = HttpResponse()
    if request.method != "HEAD":
        digest = version.sha256 if (start, end) == (0, size) else None
        response = _Download(_Part(_open(version), start, end, digest))
        audit.record_version(
            AuditEvent.Action.ARTIFACT_DOWNLOADED,
            accessor,
            version,
            sha256=version.sha256,
            bytes=end - start,
        )
    if (start, end) != (0, size):
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    for name, value in _headers(version, end - start).items():
        response.headers[name] = value
    return response


def _headers(version: ModelVersion, length: int) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(version.sha256)).decode()
    suffix = PurePosixPath(version.artifact).suffix
    name = f"{version.name}-{version.version}{suffix}"
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(length),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Accept-Ranges": "bytes",
        "ETag": f'"{version.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
    }


def _size(version: ModelVersion) -> int:
    """The size of the artifact, which is available; raises ArtifactMissing or ModelNotReady."""
    if not version.has_artifact:
        raise ArtifactMissing(f"Model {version.pk} has no artifact yet")
    with _failures(version):
        size = version.size_bytes if files.is_cached(version) else files.size(version)
    if size is None:
        raise _missing(version)
    if size != version.size_bytes:
        place = "in the object storage" if urls.is_url(version.artifact) else "on disk"
        raise ModelNotReady(f"Model {version.pk}: its artifact has changed {place}")
    return size


def _open(version: ModelVersion) -> BinaryIO:
    # The digest is compared while the file is sent, which is too late to fetch a damaged copy of an
    # object again.
    is_copy = urls.is_url(version.artifact)
    with _failures(version), files.local_file(version, is_verified=is_copy) as path:
        # Once it is open, it may be evicted from the cache.
        return path.open("rb")


@contextmanager
def _failures(version: ModelVersion) -> Iterator[None]:
    try:
        yield
    except ArtifactDamaged as error:
        raise ModelNotReady(f"Model {version.pk}: {error}") from error
    except (StorageUnavailable, StorageFull) as error:
        logger.warning("The artifact of %s cannot be sent: %s", version, error.__cause__ or error)
        raise ModelNotReady(f"Model {version.pk}: its artifact cannot be fetched") from error
    except OSError as error:
        raise _missing(version) from error


def _missing(version: ModelVersion) -> ModelNotReady:
    return ModelNotReady(f"Model {version.pk}: its artifact is missing")


def _range(request: HttpRequest, etag: str, size: int) -> tuple[int, int] | None:
    """The first byte that is asked for and the one after the last; None for the whole file.

    As RFC 9110 allows, several ranges and malformed ones are ignored.
    """
    if request.method != "GET" or request.headers.get("If-Range", etag) != etag:
        return None
    match = SINGLE_RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


class _Part:
    """The bytes of a file from `start` to `end`; closes the file.

    With the digest of all of them, an error takes the place of the last block if they differ: then
    the response is shorter than it promised to be.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, sha256: str | None) -> None:
        self._file = file
        self._left = end - start
        self._sha256, self._hash = sha256, hashlib.sha256()
        file.seek(start)

    def read(self, size: int) -> bytes:
        block = self._file.read(min(size, self._left))
        self._left -= len(block)
        if not block and self._left:
            raise OSError("The artifact became shorter while it was sent")
        if self._sha256:
            self._hash.update(block)
            if not self._left and self._hash.hexdigest() != self._sha256:
                raise OSError("The artifact has changed on disk")
        return block

    def close(self) -> None:
        self._file.close()


class _Download(FileResponse):
    block_size = BLOCK_BYTES
