"""Finds and deletes artifacts that no version has, such as those of failed registrations."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from registry.models import ModelVersion
from registry.storage import files
from registry.storage.stores.base import Entry, Store

BATCH = 500


def orphans(store: Store, *, before: datetime) -> Iterator[Entry]:
    """The files that no row holds and that were last written before that time.

    A registration places its file before it commits the row: young files are left alone. Raises
    OSError.
    """
    old = (entry for entry in store.entries() if entry.modified_at < before)
    for batch in _batches(old):
        artifacts = [store.artifact(entry.key) for entry in batch]
        rows = ModelVersion.objects.filter(artifact__in=artifacts)
        held = set(rows.values_list("artifact", flat=True))
        for entry, artifact in zip(batch, artifacts, strict=True):
            if artifact not in held:
                yield entry


def delete_orphan(store: Store, entry: Entry) -> bool:
    """Delete a file unless a row holds it by now or is about to; return whether it is gone.

    Raises OSError.
    """
    return files.remove_unheld(store.artifact(entry.key))


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, BATCH)):
        yield batch
