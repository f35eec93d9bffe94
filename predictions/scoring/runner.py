"""Runs a plan: lets an engine do what is not done yet, and seals the result. No Django here."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import orjson

from predictions.export.destinations.base import AlreadyPublished, Destination
from predictions.export.destinations.documents import (
    MANIFEST,
    PLAN,
    as_bytes,
    folder_digest,
    receipt_name,
)
from predictions.scoring.doing import find_receipt
from predictions.scoring.engines.base import Engine
from predictions.scoring.planning import Plan
from predictions.scoring.work import Receipt, ScoringFailed, order_of
from registry.exact_json.values import JSONObject

# Those in the manifest; the parts have the error of every row.
MAX_LISTED_ERRORS = 1000


class OtherRun(ScoringFailed):
    """The destination has the result of something else; the message is for the caller."""


def resume_or_start(destination: Destination, plan: Plan) -> tuple[Plan, JSONObject | None]:
    """The plan by which to go on, and the manifest if it is complete; raises OtherRun."""
    for name in (MANIFEST, PLAN):
        if (content := destination.read(name)) is not None:
            document = orjson.loads(content)
            earlier = plan_of(document, destination)
            if found := earlier.differences(plan):
                raise OtherRun(
                    f"{destination} has the result of a run with {', '.join(found)}: choose another"
                    " place"
                )
            return continued(earlier, plan), document if name == MANIFEST else None
    if names := sorted(destination.names()):
        raise OtherRun(f"{destination} is not empty: it has {names[0]}")
    try:
        destination.create(PLAN, as_bytes(plan.as_json()))
    except AlreadyPublished:
        return resume_or_start(destination, plan)
    return plan, None


def continued(earlier: Plan, now: Plan) -> Plan:
    """The earlier of two plans without differences, with the inputs and versions as they are now.

    Artifacts may have been moved since then. And the settings decide where this process reads,
    loads and writes, not a document that others may be able to change.
    """
    return replace(earlier, sources=now.sources, instructions=now.instructions)


def plan_of(document: JSONObject, destination: Destination) -> Plan:
    """The plan in a published document; raises OtherRun."""
    try:
        return Plan.from_json(document)
    except (KeyError, TypeError) as error:
        message = f"{destination} has an export, or the result of another release"
        raise OtherRun(f"{message}: choose another place") from error


@dataclass(slots=True)
class Run:
    """A plan that is being carried out at its destination."""

    plan: Plan
    destination: Destination

    def receipts(self) -> dict[int, Receipt]:
        """Those that are published, by the number of the task."""
        names = set(self.destination.names())
        found = {}
        for task in self.plan.tasks:
            if receipt_name(task.number) in names:
                receipt = find_receipt(self.destination, task.number)
                if receipt is not None:
                    found[task.number] = receipt
        return found

    def do(
        self,
        engine: Engine,
        done: dict[int, Receipt],
        progress: Callable[[Receipt], object],
    ) -> list[Receipt]:
        """Have all tasks done that are not among `done`; the receipts in their order.

        Calls `progress` with each new receipt. Raises ScoringFailed or ScoringInterrupted.
        """
        receipts = dict(done)
        orders = (
            order_of(self.plan.instructions, self.plan.sources[task.source], task)
            for task in self.plan.tasks
            if task.number not in done
        )
        for document in engine.run(orders):
            receipt = Receipt.from_json(document)
            receipts[receipt.number] = receipt
            progress(receipt)
        return [receipts[task.number] for task in self.plan.tasks]

    def seal(self, receipts: Sequence[Receipt], finished_at: str, **notes: object) -> JSONObject:
        """Publish the manifest, which says that everything is there; raises ScoringFailed.

        A part without a receipt is deleted: two workers had the same task, and the other was first.
        """
        self._require_complete(receipts)
        manifest = manifest_of(self.plan, receipts, finished_at) | notes
        try:
            self.destination.create(MANIFEST, as_bytes(manifest))
        except AlreadyPublished:
            manifest = orjson.loads(self.destination.read(MANIFEST) or b"{}")
        self.clean()
        return manifest

    def _require_complete(self, receipts: Sequence[Receipt]) -> None:
        sizes = {receipt.name: receipt.size_bytes for receipt in receipts}
        missing = sorted(sizes.keys() - set(self.destination.names()))
        if missing:
            raise ScoringFailed(f"{self.destination}: {missing[0]} is missing")
        expected = {task.number: task.rows for task in self.plan.tasks}
        for receipt in receipts:
            if expected[receipt.number] not in (None, receipt.rows):
                raise ScoringFailed(
                    f"{receipt.name} has {receipt.rows} rows instead of {expected[receipt.number]}"
                )

    def clean(self) -> None:
        """Delete what a complete run does not need; a killed run may have left it."""
        manifest = orjson.loads(self.destination.read(MANIFEST) or b"{}")
        kept = {MANIFEST, *(part["name"] for part in manifest["parts"])}
        for name in list(self.destination.names()):
            if name not in kept and (name == PLAN or name.lstrip("_").startswith("part-")):
                self.destination.delete(name)
        self.destination.remove_scratch()


def manifest_of(plan: Plan, receipts: Sequence[Receipt], finished_at: str) -> JSONObject:
    """The manifest of a complete run.

    Its `sha256` is that of the output of `sha256sum part-*` in the folder: the same inputs, version
    and options have the same, whatever engine did the work.
    """
    errors = [
        {"file": plan.sources[task.source].name, "row": row, "error": error}
        for task, receipt in zip(plan.tasks, receipts, strict=True)
        for row, error in receipt.errors
    ]
    return {
        **plan.as_json(),
        "finished_at": finished_at,
        "rows": sum(receipt.rows for receipt in receipts),
        "failed": sum(receipt.failed for receipt in receipts),
        "size_bytes": sum(receipt.size_bytes for receipt in receipts),
        "sha256": folder_digest((receipt.name, receipt.sha256) for receipt in receipts),
        "peak_memory_mib": max((receipt.peak_memory_mib for receipt in receipts), default=0.0),
        "errors": errors[:MAX_LISTED_ERRORS],
        "parts": [_part(receipt) for receipt in receipts],
    }


def _part(receipt: Receipt) -> JSONObject:
    document = asdict(receipt)
    del document["errors"]
    return document
