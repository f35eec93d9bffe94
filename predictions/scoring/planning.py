"""The plan of a run: its inputs, the versions that answer, and how the work is divided. No Django
here.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import pyarrow as pa

from predictions.input_files import parquet
from predictions.input_files.columns import INPUT_PREFIX, Columns
from predictions.input_files.errors import FileRefused
from predictions.scoring.doing import id_column_of
from predictions.scoring.outputs import table_columns
from predictions.scoring.sources.opening import open_source
from predictions.scoring.splitting import split
from predictions.scoring.tables import csv_header
from predictions.scoring.work import Instructions, ScoringFailed, Source, Task
from registry.exact_json.values import JSONObject
from registry.signatures.masking import feature_rules
from registry.signatures.signature import Signature

# The end of the name of a column that has one value of a list, such as features[0].
ITEM = re.compile(r"\[[0-9]+\]$")
# The names of parts have five digits, so that they sort by number.
MAX_TASKS = 99_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run has to do. It is published before anything else, and never changes."""

    run: str
    instructions: Instructions
    sources: Sequence[Source]
    tasks: Sequence[Task]
    model: str
    alias: str | None
    is_recorded: bool
    mlapi: str
    started_at: str

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        fields = {name: document[name] for name in cls.__slots__}
        fields["instructions"] = Instructions.from_json(fields["instructions"])
        fields["sources"] = [Source(**source) for source in fields["sources"]]
        fields["tasks"] = [Task(**task) for task in fields["tasks"]]
        return cls(**fields)

    def as_json(self) -> JSONObject:
        return asdict(self)

    def differences(self, other: "Plan") -> list[str]:
        """How this plan differs from another, as words; when they were made does not count."""
        mine, theirs = self.instructions, other.instructions
        found = []
        if _identities(mine) != _identities(theirs):
            found.append(f"another version: {_names(self)}")
        elif _signatures(mine) != _signatures(theirs):
            found.append(f"another signature of {_names(self)}")
        elif (mine.arms.percent, mine.arms.salt) != (theirs.arms.percent, theirs.arms.salt):
            found.append("another share of the canary")
        if len(self.sources) != len(other.sources) or not all(
            map(Source.is_same, self.sources, other.sources)
        ):
            found.append("other inputs")
        names = ("format", "id_column", "id_datatype", "subject_column")
        found += [
            f"another {name.replace('_', ' ')}"
            for name in names
            if getattr(mine, name) != getattr(theirs, name)
        ]
        if self.is_recorded != other.is_recorded:
            found.append("recording" if self.is_recorded else "no recording")
        return found


def _identities(instructions: Instructions) -> list[tuple[str, str]]:
    return [(version.name, version.sha256) for version in instructions.arms.versions]


def _signatures(instructions: Instructions) -> list[JSONObject]:
    return [version.signature for version in instructions.arms.versions]


def _names(plan: Plan) -> str:
    return " and ".join(version.name for version in plan.instructions.arms.versions)


def divide(
    sources: Iterable[Source], part_rows: int, progress: Callable[[int], object]
) -> tuple[list[Source], list[Task]]:
    """The sources with their identities, and all tasks; raises ScoringFailed."""
    identified, tasks = [], []
    for number, source in enumerate(sources):
        try:
            found, own = split(source, number, part_rows, progress)
        except FileRefused as error:
            raise ScoringFailed(f"{source.name}: {error}") from error
        identified.append(found)
        tasks += own
    if len(tasks) > MAX_TASKS:
        raise ScoringFailed(
            f"The inputs have {len(tasks):,} parts; the limit is {MAX_TASKS:,}. Raise --part-rows"
        )
    return identified, [replace(task, number=i) for i, task in enumerate(tasks, start=1)]


def checked(
    instructions: Instructions, sources: Sequence[Source], *, is_recorded: bool = False
) -> Instructions:
    """The instructions with the type of the ids; raises ScoringFailed for inputs that lack columns
    or have them in types that cannot be read, and for an ID or a subject that is sensitive.
    """
    signatures = [Signature.from_json(file.signature) for file in instructions.arms.versions]
    _require_same_inputs(signatures)
    _require_not_sensitive("--id-column", instructions.id_column, signatures)
    if is_recorded:
        _require_not_sensitive("--subject-column", instructions.subject_column, signatures)
    kinds = [_kinds(instructions, source, signatures[0]) for source in sources]
    if instructions.id_column is not None:
        ids = [found[instructions.id_column] if found else None for found in kinds]
        if ids and all(kind is not None and pa.types.is_signed_integer(kind) for kind in ids):
            instructions = replace(instructions, id_datatype="INT64")
    table_columns(signatures, id_column_of(instructions), has_arms=len(signatures) > 1)
    return instructions


def _kinds(
    instructions: Instructions, source: Source, signature: Signature
) -> dict[str, Any] | None:
    """The Arrow types of the columns that are read from Parquet; None for text."""
    others = instructions.others
    with closing(open_source(source)) as file:
        try:
            if source.format == "csv":
                Columns(signature, csv_header(file), others)
            if source.format != "parquet":
                return None
            with parquet.open_file(file) as opened:
                columns = Columns(signature, parquet.names_of(opened), others)
                kinds = {name: opened.schema_arrow.field(name).type for name in columns.names}
            for name, kind in kinds.items():
                parquet.values(name, pa.array([], kind))
                if name in others and not (pa.types.is_integer(kind) or parquet.is_text(kind)):
                    raise FileRefused(
                        f"Column '{name}' has type {kind}; it must have texts or whole numbers"
                    )
        except FileRefused as error:
            raise ScoringFailed(f"{source.name}: {error}") from error
    return kinds


def _require_same_inputs(signatures: Sequence[Signature]) -> None:
    described = [
        [(t.name, t.datatype, t.shape, t.features, t.nullable) for t in signature.inputs]
        for signature in signatures
    ]
    if any(inputs != described[0] for inputs in described):
        raise ScoringFailed("The canary takes other inputs: score without --canary")


def _require_not_sensitive(
    option: str, column: str | None, signatures: Sequence[Signature]
) -> None:
    """Refuse a sensitive feature by any name that its column can have: the result or the log would
    show its values.
    """
    if column is None:
        return
    key = ITEM.sub("", column.removeprefix(INPUT_PREFIX))
    for signature in signatures:
        for tensor in signature.inputs:
            if not {column, key}.isdisjoint(feature_rules(tensor)):
                raise ScoringFailed(f"{option}: '{column}' is a sensitive feature of the model")
