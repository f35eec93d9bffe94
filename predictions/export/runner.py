"""Runs an export part by part, and resumes one that was interrupted."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import orjson
from django.utils import timezone

from predictions.export.columns import Inputs, export_columns
from predictions.export.destinations.base import (
    AlreadyPublished,
    Destination,
    DestinationUnavailable,
)
from predictions.export.destinations.documents import MANIFEST, PLAN, as_bytes, receipt_name
from predictions.export.formats import FORMATS
from predictions.export.manifest import Plan, Receipt, manifest_of, part_name
from predictions.export.reading import ExportReader, signatures_of
from predictions.export.selection import Key, Positions, Selection
from predictions.models.predictions import PredictionQuerySet
from registry.exact_json.values import JSONObject


class ExportTaken(Exception):
    """Another process writes the same export; the message is for the caller."""


class OtherExport(Exception):
    """The destination has files of another export; the message is for the caller."""


def plan_export(
    rows: PredictionQuerySet,
    *,
    filter: JSONObject,
    format: str,
    inputs: Inputs | None,
    part_rows: int,
    start: int,
    mlapi: str,
    max_wait_seconds: float,
) -> Plan:
    """The plan of an export of the rows as they are now; raises LogRestored.

    Waits at most this long for transactions that are open: see Positions.
    """
    inputs = inputs or FORMATS[format].default_inputs
    positions = Positions.until_now(start, max_wait_seconds=max_wait_seconds)
    versions = Selection(rows, positions).versions()
    return Plan(
        filter=filter,
        format=format,
        inputs=inputs,
        part_rows=part_rows,
        positions=positions,
        columns=export_columns(signatures_of(versions).values(), inputs),
        mlapi=mlapi,
        started_at=timezone.now().isoformat(),
    )


def find_manifest(destination: Destination, plan: Plan) -> JSONObject | None:
    """The manifest of the same export, if it is complete; raises OtherExport."""
    if (content := destination.read(MANIFEST)) is None:
        return None
    manifest: JSONObject = orjson.loads(content)
    if not plan.is_same(_plan_of(manifest, destination)):
        raise OtherExport(
            f"{destination} has a complete export with other options: choose another place"
        )
    # A run may have been killed after it published the manifest.
    _delete_receipts(destination, manifest)
    return manifest


def resume_or_start(destination: Destination, plan: Plan) -> tuple[Plan, list[Receipt]]:
    """The plan by which to go on, and the parts that are there already.

    Raises OtherExport, or ExportTaken if another process begins the same export now.
    """
    if (content := destination.read(PLAN)) is None:
        if names := sorted(destination.names()):
            raise OtherExport(f"{destination} is not empty: it has {names[0]}")
        _publish(destination, PLAN, plan.as_json())
        return plan, []
    earlier = _plan_of(orjson.loads(content), destination)
    if not plan.is_same(earlier):
        raise OtherExport(
            f"{destination} has an unfinished export with other options: finish that, or choose"
            " another place"
        )
    return earlier, list(_receipts(destination))


def _plan_of(document: JSONObject, destination: Destination) -> Plan:
    """The plan in a published document; raises OtherExport."""
    try:
        return Plan.from_json(document)
    except (KeyError, TypeError) as error:
        raise OtherExport(
            f"{destination} has a scored table, or an export of another release: choose another"
            " place"
        ) from error


def run(
    rows: PredictionQuerySet,
    plan: Plan,
    receipts: list[Receipt],
    destination: Destination,
    progress: Callable[[int], object],
) -> JSONObject:
    """Write the parts that are missing, then the manifest, and return that.

    Calls `progress` with numbers of rows. Raises ExportTaken, DestinationUnavailable and
    FormatUnavailable.
    """
    reader = ExportReader(Selection(rows, plan.positions), plan.columns, plan.inputs)
    while not receipts or receipts[-1].rows == plan.part_rows:
        number = len(receipts) + 1
        after = receipts[-1].last if receipts else None
        name = part_name(number, plan.format)
        path = destination.new_file(name)
        n_rows, last = _write_part(reader, plan, path, after, progress)
        if receipts and not n_rows:
            path.unlink()
            break
        receipt = Receipt.of(name, path, n_rows, last)
        destination.publish(path, name)
        _publish(destination, receipt_name(number), asdict(receipt))
        receipts.append(receipt)
    manifest = manifest_of(plan, receipts, timezone.now().isoformat())
    _publish(destination, MANIFEST, manifest)
    _delete_receipts(destination, manifest)
    return manifest


def _write_part(
    reader: ExportReader,
    plan: Plan,
    path: Path,
    after: Key | None,
    progress: Callable[[int], object],
) -> tuple[int, Key | None]:
    """Write the rows after the key into a local file; their number, and the last one's key."""
    n_rows, last = 0, None
    try:
        with (
            path.open("wb") as file,
            closing(FORMATS[plan.format].open(file, plan.columns)) as writer,
        ):
            for chunk in reader.read(after, plan.part_rows):
                writer.write(chunk)
                n_rows, last = n_rows + len(chunk), chunk.last
                progress(len(chunk))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DestinationUnavailable(f"Cannot write {path}: {error}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return n_rows, last


def _receipts(destination: Destination) -> Iterator[Receipt]:
    number = 1
    while (content := destination.read(receipt_name(number))) is not None:
        yield Receipt(**orjson.loads(content))
        number += 1


def _delete_receipts(destination: Destination, manifest: JSONObject) -> None:
    for number in range(1, len(manifest["parts"]) + 1):
        destination.delete(receipt_name(number))
    destination.delete(PLAN)


def _publish(destination: Destination, name: str, document: JSONObject) -> None:
    try:
        destination.create(name, as_bytes(document))
    except AlreadyPublished as error:
        message = f"Another process is writing the same export to {destination}"
        raise ExportTaken(message) from error
