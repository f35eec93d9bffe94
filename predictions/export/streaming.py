"""An export as the body of a response, sent while it is written."""

import logging
import threading
from collections.abc import Iterable, Iterator

from predictions.export.formats import FORMATS
from predictions.export.manifest import Plan
from predictions.export.reading import ExportReader
from predictions.export.selection import Selection
from predictions.models.predictions import PredictionQuerySet
from registry.loading import loader

logger = logging.getLogger(__name__)

# Per process. Each occupies one of its threads for as long as the client reads.
MAX_STREAMS = 2
# No limit: a stream is one part.
ALL_ROWS = 2**63 - 1

_places = threading.BoundedSemaphore(MAX_STREAMS)


class ExportBusy(Exception):
    """This process sends as many exports as it can; the message is for the caller."""

    retry_after = 10


class ExportStream:
    """The bytes of one export; closing it makes room for another. Raises ExportBusy.

    A failure cuts the response off, which HTTP clients report: a file is never short unnoticed.
    """

    def __init__(self, rows: PredictionQuerySet, plan: Plan) -> None:
        if not _places.acquire(blocking=False):
            raise ExportBusy(
                f"This process is sending {MAX_STREAMS} exports; try again later, or use"
                " manage.py export_predictions"
            )
        self._is_open = True
        try:
            self._pipe = _Pipe()
            # Now, while the response can still have another status.
            self._reader = ExportReader(Selection(rows, plan.positions), plan.columns, plan.inputs)
            self._writer = FORMATS[plan.format].open(self._pipe, plan.columns)
        except BaseException:
            self.close()
            raise
        self._content = self._read()

    def __iter__(self) -> Iterator[bytes]:
        return self._content

    def _read(self) -> Iterator[bytes]:
        try:
            for chunk in self._reader.read(None, ALL_ROWS):
                # The client may read slowly.
                loader.release_connection()
                self._writer.write(chunk)
                if content := self._pipe.take():
                    yield content
            self._writer.close()
            yield self._pipe.take()
        except Exception:
            logger.exception("An export broke off")
            raise
        finally:
            self.close()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            _places.release()


class _Pipe:
    """A file that holds what was written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, content: bytes) -> int:
        # A copy: pyarrow passes buffers that it uses again.
        self._written.append(bytes(content))
        return len(content)

    def writelines(self, lines: Iterable[bytes]) -> None:
        self._written.extend(lines)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        content, self._written = b"".join(self._written), []
        return content
