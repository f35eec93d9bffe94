"""Disks are full, and files are gone."""

import json
import threading
import time
import uuid
from pathlib import Path

from benchmarks.chaos.disks import Disk
from benchmarks.chaos.faults.base import Effects, Fault, NotPossible
from benchmarks.harness.service import MODELS
from benchmarks.traffic.clients import UNANSWERED, Event

UPLOAD_PERIOD_SECONDS = 1.0
UPLOAD_WAIT_SECONDS = 60
HOW_TO_MOUNT = "no file system can be mounted; run it as root"


class DatabaseDiskFull(Fault):
    name = "the database's disk is full"
    group = "database"
    effects = Effects(is_unready=True)

    def prepare(self) -> None:
        if self.system.data_disk is None:
            raise NotPossible(HOW_TO_MOUNT)
        # The tables' free pages are used first.
        self._disk = self.system.data_disk

    def begin(self) -> None:
        self._disk.fill()

    def end(self) -> None:
        self._disk.make_room()


class FilesDiskFull(Fault):
    """The disk of the models and of temporary files is full while models are uploaded."""

    name = "the disk of files is full"
    group = "files"
    effects = Effects(is_unready=True)

    def prepare(self) -> None:
        if self.system.files_disk is None:
            raise NotPossible(HOW_TO_MOUNT)
        self._disk: Disk = self.system.files_disk
        self._before = _files(self.system.models_folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._upload_until_stopped, daemon=True)

    def begin(self) -> None:
        self._disk.fill()
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._disk.make_room()

    def violations(self) -> list[str]:
        self._thread.join(UPLOAD_WAIT_SECONDS)
        left = _files(self.system.models_folder) - self._before
        registered = sum(event.status == 201 for event in self.events)
        return [f"{len(left)} files were left behind"] if len(left) > registered else []

    def _upload_until_stopped(self) -> None:
        content = self.system.model.file("onnx").read_bytes()
        while not self._stop.is_set():
            self.events.append(self._upload(content))
            self._stop.wait(UPLOAD_PERIOD_SECONDS)

    def _upload(self, content: bytes) -> Event:
        boundary = uuid.uuid4().hex
        fields = {"name": "uploaded", "version": boundary[:8], "framework": "onnx"}
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="artifact"; '
            f'filename="model.onnx"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        body = (
            "".join(parts).encode() + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        sent_at = time.monotonic()
        try:
            with self.system.client() as client:
                response = client.send("POST", MODELS, body, headers)
        except OSError as error:
            return Event("upload", sent_at, time.monotonic(), UNANSWERED, detail=str(error))
        return Event(
            "upload",
            sent_at,
            time.monotonic(),
            response.status,
            "retry-after" in response.headers,
            detail=json.dumps(response.body.decode(errors="replace"))[:200],
        )


class ArtifactsGone(Fault):
    """The folder of models is renamed away, as when a volume is not mounted."""

    name = "the folder of models is gone"
    group = "files"
    effects = Effects(is_unready=True)

    def begin(self) -> None:
        self._folder = self.system.models_folder
        self._hidden = self._folder.with_name("gone")
        self._folder.rename(self._hidden)

    def end(self) -> None:
        if self._folder.exists():
            # Whatever made it anew would hide the models.
            self._folder.rename(self._folder.with_name(f"new-{uuid.uuid4().hex}"))
        self._hidden.rename(self._folder)


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
