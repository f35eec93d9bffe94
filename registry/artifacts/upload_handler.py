"""Receives files of multipart requests: Django's upload handler that stages them as artifacts.

An upload is written to disk once, in the folder of the models, from where placing it is a link. Set
as FILE_UPLOAD_HANDLERS, it serves the API's forms and the admin's.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from registry.artifacts.errors import ArtifactTooLarge
from registry.artifacts.staging import StagedFile, StagingWriter

if TYPE_CHECKING:
    _UploadedFile = UploadedFile[bytes]
else:
    _UploadedFile = UploadedFile


class StagedUpload(_UploadedFile):
    """A file of a request, staged or refused.

    Django closes a request's files when the request ends. Closing discards the staged file, unless
    it has been placed by then.
    """

    def __init__(
        self, name: str | None, size: int, staged: StagedFile | None, error: Exception | None
    ) -> None:
        super().__init__(name=name, size=size)
        self._staged = staged
        self._error = error

    def staged_file(self) -> StagedFile:
        """The file on disk; raises ArtifactTooLarge if it exceeded the limit."""
        if self._error is not None:
            raise self._error
        assert self._staged is not None, "form fields refuse empty files"
        return self._staged

    def close(self) -> None:
        if self._staged is not None:
            self._staged.discard()


class StagingUploadHandler(FileUploadHandler):
    """Streams each file of a request into the staging folder below MODEL_PATH.

    A file that exceeds MAX_ARTIFACT_BYTES is removed at once, and the rest of it is read and
    dropped. The error is raised when the file is used, after the other fields have been validated.
    """

    def new_file(
        self,
        field_name: str,
        file_name: str,
        content_type: str,
        content_length: int | None,
        charset: str | None = None,
        content_type_extra: dict[str, bytes] | None = None,
    ) -> None:
        super().new_file(
            field_name, file_name, content_type, content_length, charset, content_type_extra
        )
        self._error: ArtifactTooLarge | None = None
        self._writer = StagingWriter(
            Path(settings.MODEL_PATH), limit_bytes=settings.MAX_ARTIFACT_BYTES
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if self._error is not None:
            return
        try:
            self._writer.write(raw_data)
        except ArtifactTooLarge as error:
            self._error = error

    def file_complete(self, file_size: int) -> StagedUpload:
        staged = None
        if file_size == 0:
            self._writer.discard()
        elif self._error is None:
            staged = self._writer.finish()
        return StagedUpload(self.file_name, file_size, staged, self._error)

    def upload_interrupted(self) -> None:
        if hasattr(self, "_writer"):
            self._writer.discard()
