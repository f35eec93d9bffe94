"""What happens to a version over its row, its file and its runtime: register, attach, delete."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import ProtectedError

from registry.aliases.activation import VersionInUse as VersionInUse
from registry.aliases.activation import promote_first_version, release_for_deletion
from registry.aliases.recording import SYSTEM, Attribution
from registry.artifacts import proof, store
from registry.exact_json.values import JSONObject
from registry.loader import load_options
from registry.models import ModelVersion
from registry.runtimes import FRAMEWORKS

ATTACHED = ("framework", "artifact", "sha256", "size_bytes", "signature", "libraries")
# How many explicit registrations of just the next number may come first, one after the other.
NUMBERING_TRIES = 10


class VersionExists(Exception):
    """The (name, version) is taken; the message is for the caller."""


class ArtifactExists(Exception):
    """The version already has another artifact; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A model file on its way in, with what its owner says of it.

    `signature` names columns, classes and types that the file cannot tell; `example` are rows of
    `input_data` that the model must be able to score.
    """

    chunks: Iterable[bytes]
    signature: Mapping[str, Any] | None = None
    example: Sequence[object] = field(default=())


def register_model(
    *,
    name: str,
    version: str | None = None,
    framework: str | None = None,
    metrics: JSONObject | None = None,
    description: str = "",
    tags: JSONObject | None = None,
    is_active: bool = True,
    created_by: User | None = None,
    request_id: str = "",
    upload: Upload | None = None,
) -> ModelVersion:
    """Create a version, with its artifact if one is given: both are there afterwards, or neither.

    Without a `version` it gets the name's next number, without a `framework` the file's content
    tells it. The first that can answer becomes champion. Raises VersionExists, ArtifactTooLarge or
    ArtifactRejected.
    """
    if version and ModelVersion.objects.filter(name=name, version=version).exists():
        raise VersionExists(f"Model {name}:{version} already exists")
    row = ModelVersion(
        name=name,
        version=version or "",
        framework=framework or "",
        metrics=metrics,
        description=description,
        tags=tags or {},
        is_active=is_active,
        created_by=created_by,
    )
    if upload is None:
        with transaction.atomic():
            _create(row)
        return row
    attribution = Attribution(user=created_by, request_id=request_id)
    with (
        _proved(row, upload, framework) as proved,
        _file_removed_on_failure(row),
        transaction.atomic(),
    ):
        # The row comes first: it takes the number that is in the file's path.
        _create(row)
        _place(row, *proved)
        row.save(update_fields=ATTACHED)
        promote_first_version(row, attribution)
    return row


def attach_artifact(
    *, model_id: int, upload: Upload, attribution: Attribution = SYSTEM
) -> ModelVersion:
    """Give a version its artifact, once; the same file again changes nothing.

    Raises ModelNotFound, ArtifactExists, ArtifactTooLarge or ArtifactRejected.
    """
    row = ModelVersion.objects.find(model_id)
    if row.has_artifact:
        return _attached_already(row, upload)
    with _proved(row, upload, row.framework) as proved, _file_removed_on_failure(row):
        _place(row, *proved)
        attached = {name: getattr(row, name) for name in ATTACHED}
        with transaction.atomic():
            # The row as it was read decides: the second of two uploads finds nothing to fill.
            if not ModelVersion.objects.filter(pk=model_id, artifact="").update(**attached):
                raise ArtifactExists(f"Model {model_id} got its artifact meanwhile, or is gone")
            row.refresh_from_db(fields=["is_active"])
            promote_first_version(row, attribution)
    return row


def delete_version(*, model_id: int) -> None:
    """Delete a version that no prediction or alias refers to, and then its file.

    Raises ModelNotFound or VersionInUse.
    """
    try:
        with transaction.atomic():
            row = ModelVersion.objects.select_for_update().find(model_id)
            release_for_deletion(row)
            if row.has_artifact:
                # Robust: the row is gone, and a file that can not be removed changes nothing of it.
                transaction.on_commit(partial(_remove_file, row), robust=True)
            row.delete()
    except (ProtectedError, IntegrityError) as error:
        raise VersionInUse(
            f"Model {model_id} has predictions and can not be deleted; deactivate it instead"
        ) from error


def _create(row: ModelVersion) -> None:
    """Write a new row, numbered where it has no version; raises VersionExists."""
    if row.version:
        _insert(row)
        return
    ModelVersion.objects.lock_numbering(row.name)
    for _ in range(NUMBERING_TRIES - 1):
        row.version = ModelVersion.objects.next_number(row.name)
        # Whoever says a number himself does not wait for the lock, and may have taken this one.
        with suppress(VersionExists):
            _insert(row)
            return
    row.version = ModelVersion.objects.next_number(row.name)
    _insert(row)


def _insert(row: ModelVersion) -> None:
    try:
        # A savepoint where a transaction is open, else the look below would fail in it.
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if ModelVersion.objects.filter(name=row.name, version=row.version).exists():
            raise VersionExists(f"Model {row} already exists") from error
        raise


def _attached_already(row: ModelVersion, upload: Upload) -> ModelVersion:
    staged = _receive(upload)
    staged.discard()
    if staged.sha256 != row.sha256:
        raise ArtifactExists(
            f"Model {row.pk} already has an artifact, which never changes; register a new version"
        )
    return row


def _receive(upload: Upload) -> store.Staged:
    root = Path(settings.MODEL_PATH)
    return store.receive(upload.chunks, root, limit_bytes=settings.MAX_ARTIFACT_BYTES)


@contextmanager
def _proved(
    row: ModelVersion, upload: Upload, framework: str | None
) -> Iterator["tuple[store.Staged, proof.Proof]"]:
    """Receive and prove a file for `row`, whose framework it may tell.

    What is not placed is discarded. No transaction is open meanwhile: loading a large model takes
    seconds.
    """
    staged = _receive(upload)
    try:
        row.framework = store.check_framework(staged.path, framework)
        proven = proof.prove(
            staged.path,
            framework=row.framework,
            options=load_options(),
            declared=upload.signature,
            example=upload.example,
            timeout_seconds=settings.PROOF_TIMEOUT_SECONDS,
            memory_bytes=settings.PROOF_MEMORY_BYTES,
        )
        yield staged, proven
    finally:
        staged.discard()


def _place(row: ModelVersion, staged: store.Staged, proven: proof.Proof) -> None:
    """Put the file in its place, and what it tells into `row`."""
    row.artifact = store.place(
        staged,
        Path(settings.MODEL_PATH),
        row.name,
        row.version,
        FRAMEWORKS[row.framework].suffixes[0],
    )
    row.sha256, row.size_bytes = staged.sha256, staged.size_bytes
    row.signature, row.libraries = proven.signature, proven.libraries


@contextmanager
def _file_removed_on_failure(row: ModelVersion) -> Iterator[None]:
    """Take the placed file back where its row was not written.

    After a lost connection the row may be committed all the same. Where that can not be asked, the
    file stays: without a row it harms nobody, and a row without its file could never answer.
    """
    try:
        yield
    except BaseException:
        with suppress(DatabaseError, InterfaceError):
            if row.artifact and not ModelVersion.objects.filter(artifact=row.artifact).exists():
                _remove_file(row)
        raise


def _remove_file(row: ModelVersion) -> None:
    store.remove(Path(settings.MODEL_PATH), row.artifact)
