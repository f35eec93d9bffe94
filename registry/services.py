"""The workflows of a version across its row, its file and its runtime: register, attach, delete."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import ProtectedError

from registry.access import audit
from registry.aliases.activation import VersionInUse as VersionInUse
from registry.aliases.activation import promote_first_version, release_for_deletion
from registry.aliases.recording import SYSTEM, Attribution
from registry.artifacts import proof, staging
from registry.artifacts.sniffing import check_framework
from registry.artifacts.staging import StagedFile
from registry.artifacts.upload_handler import StagedUpload
from registry.exact_json.values import JSONObject
from registry.loading.loader import load_options
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from registry.runtimes import FRAMEWORKS
from registry.storage import files
from registry.webhooks.announcements import announce_artifact, announce_version

logger = logging.getLogger(__name__)

# A try fails only if an explicit version number has just taken the next number.
NUMBERING_TRIES = 10


class VersionExists(Exception):
    """The (name, version) is taken. The message can be shown to the caller."""


class ArtifactExists(Exception):
    """The version already has another artifact. The message can be shown to the caller."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A model file to be received, with what its owner declares about it.

    `content` is a file of a request, which is staged already, or the file's chunks. `signature`
    names columns, classes and types that the file does not contain; `example` holds rows of
    `input_data` that the model must be able to score.
    """

    content: StagedUpload | Iterable[bytes]
    signature: Mapping[str, object] | None = None
    example: Sequence[object] = field(default=())


@dataclass(frozen=True, slots=True)
class _ProvedFile:
    """A staged file that loads and scores, with what the proof found out about it."""

    staged: StagedFile
    framework: str
    proof: proof.Proof

    def placing(self) -> AbstractContextManager[str]:
        """See files.placing."""
        return files.placing(self.staged, FRAMEWORKS[self.framework].suffixes[0])

    def columns(self, artifact: str) -> JSONObject:
        """The columns of a version that has this file, kept as `artifact`."""
        return {
            "framework": self.framework,
            "artifact": artifact,
            "sha256": self.staged.sha256,
            "size_bytes": self.staged.size_bytes,
            "signature": self.proof.signature,
            "libraries": self.proof.libraries,
        }


def register_model(
    *,
    name: str,
    version: str | None = None,
    framework: str | None = None,
    metrics: JSONObject | None = None,
    description: str = "",
    tags: JSONObject | None = None,
    is_active: bool = True,
    max_concurrency: int | None = None,
    timeout_seconds: float | None = None,
    attribution: Attribution = SYSTEM,
    upload: Upload | None = None,
) -> ModelVersion:
    """Create a version, with its artifact if there is one: either both are stored or neither.

    `version` defaults to the name's next number, `framework` to what the file's content shows. The
    name's first version that can answer becomes its champion. Raises VersionExists,
    ArtifactTooLarge, ArtifactRejected, StorageUnavailable or StorageFull.
    """
    if version and ModelVersion.objects.filter(name=name, version=version).exists():
        raise VersionExists(f"Model {name}:{version} already exists")
    build = partial(
        ModelVersion,
        name=name,
        metrics=metrics,
        description=description,
        tags=tags or {},
        is_active=is_active,
        max_concurrency=max_concurrency,
        timeout_seconds=timeout_seconds,
        created_by=attribution.user,
    )
    if upload is None:
        with transaction.atomic():
            build = partial(build, framework=framework or "")
            return _insert_version(name, version, build, attribution)
    with _received(upload) as staged:
        proved = _prove(staged, upload, framework)
        return _save_with_file(name, version, proved, build, attribution)


def attach_artifact(
    *, model_id: int, upload: Upload, attribution: Attribution = SYSTEM
) -> ModelVersion:
    """Give a version its artifact, once; sending the same file again changes nothing.

    Raises ModelNotFound, ArtifactExists, ArtifactTooLarge, ArtifactRejected, StorageUnavailable or
    StorageFull.
    """
    version = ModelVersion.objects.find(model_id)
    with _received(upload) as staged:
        if version.has_artifact:
            _check_same_file(version, staged)
            return version
        proved = _prove(staged, upload, version.framework)
        with proved.placing() as artifact, transaction.atomic():
            # Compare and swap: of two uploads, the second finds a row that has an artifact.
            rows = ModelVersion.objects.filter(pk=model_id, artifact="")
            if not rows.update(**proved.columns(artifact)):
                raise ArtifactExists(
                    f"Model {model_id} got another artifact in the meantime, or was deleted"
                )
            version = ModelVersion.objects.find(model_id)
            audit.record_version(
                AuditEvent.Action.VERSION_CHANGED,
                attribution.accessor,
                version,
                changed=["artifact"],
                sha256=version.sha256,
            )
            announce_artifact(version)
            promote_first_version(version, attribution)
    return version


def delete_version(*, model_id: int, attribution: Attribution = SYSTEM) -> None:
    """Delete a version that no prediction or alias refers to, and then its file, unless another
    version has the same one.

    Raises ModelNotFound or VersionInUse.
    """
    try:
        with transaction.atomic():
            version = ModelVersion.objects.select_for_update().find(model_id)
            release_for_deletion(version)
            if version.has_artifact:
                # Robust: the row is deleted even if its file cannot be.
                transaction.on_commit(partial(_remove_file, version.artifact), robust=True)
            _record(AuditEvent.Action.VERSION_DELETED, version, attribution)
            version.delete()
    except (ProtectedError, IntegrityError) as error:
        raise VersionInUse(
            f"Model {model_id} has predictions and cannot be deleted; deactivate it instead"
        ) from error


# -- receiving and proving: no transaction is open, because both take seconds for a large model


@contextmanager
def _received(upload: Upload) -> Iterator[StagedFile]:
    """The staged file, which is discarded at the end unless it has been placed."""
    if isinstance(upload.content, StagedUpload):
        staged = upload.content.staged_file()
    else:
        staged = staging.receive(
            upload.content,
            Path(settings.MODEL_PATH),
            limit_bytes=settings.MAX_ARTIFACT_BYTES,
        )
    try:
        yield staged
    finally:
        staged.discard()


def _prove(staged: StagedFile, upload: Upload, framework: str | None) -> _ProvedFile:
    framework = check_framework(staged.path, framework)
    proved = proof.prove(
        staged.path,
        framework=framework,
        options=load_options(),
        declared=upload.signature,
        example=upload.example,
        timeout_seconds=settings.PROOF_TIMEOUT_SECONDS,
        memory_bytes=settings.PROOF_MEMORY_BYTES,
    )
    return _ProvedFile(staged, framework, proved)


def _check_same_file(version: ModelVersion, staged: StagedFile) -> None:
    if staged.sha256 != version.sha256:
        raise ArtifactExists(
            f"Model {version.pk} already has an artifact, which never changes; register a new"
            " version"
        )


# -- saving


def _save_with_file(
    name: str,
    version: str | None,
    proved: _ProvedFile,
    build: Callable[..., ModelVersion],
    attribution: Attribution,
) -> ModelVersion:
    """Place the file, and insert its row."""
    with proved.placing() as artifact, transaction.atomic():
        build = partial(build, **proved.columns(artifact))
        row = _insert_version(name, version, build, attribution)
        promote_first_version(row, attribution)
    return row


def _remove_file(artifact: str) -> None:
    try:
        files.remove_unheld(artifact)
    except (OSError, ValueError, DatabaseError, InterfaceError) as error:
        logger.warning(
            "The version is deleted, but not its file %s: %s. `manage.py sweep_artifacts` deletes"
            " it later",
            artifact,
            error.__cause__ or error,
        )


def _record(action: AuditEvent.Action, version: ModelVersion, attribution: Attribution) -> None:
    audit.record_version(
        action,
        attribution.accessor,
        version,
        framework=version.framework,
        sha256=version.sha256,
    )


def _register_name(name: str, attribution: Attribution) -> None:
    """The user who registers the first version of a name owns the model."""
    RegisteredModel.objects.get_or_create(name=name, defaults={"owner": attribution.user})


def _insert_version(
    name: str,
    version: str | None,
    build: Callable[..., ModelVersion],
    attribution: Attribution,
) -> ModelVersion:
    """Insert the row that `build(version=...)` makes, numbered if no version is given.

    Call it inside a transaction. Raises VersionExists.
    """
    _register_name(name, attribution)
    row = _insert(build(version=version)) if version else _insert_numbered(name, build)
    _record(AuditEvent.Action.VERSION_REGISTERED, row, attribution)
    return row


def _insert_numbered(name: str, build: Callable[..., ModelVersion]) -> ModelVersion:
    ModelVersion.objects.lock_numbering(name)
    for _ in range(NUMBERING_TRIES - 1):
        # An explicit version number skips the lock, so this number may have just been taken.
        with suppress(VersionExists):
            return _insert(build(version=ModelVersion.objects.next_number(name)))
    return _insert(build(version=ModelVersion.objects.next_number(name)))


def _insert(row: ModelVersion) -> ModelVersion:
    try:
        # The savepoint keeps an open transaction usable for the query below.
        with transaction.atomic():
            row.save(force_insert=True)
            announce_version(row)
    except IntegrityError as error:
        if ModelVersion.objects.filter(name=row.name, version=row.version).exists():
            raise VersionExists(f"Model {row} already exists") from error
        raise
    return row
