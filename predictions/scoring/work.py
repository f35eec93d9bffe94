"""What a worker is told and what it answers, as JSON: engines carry nothing else. No Django."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from registry.exact_json.values import JSONObject

# The layout of what a worker is told. Workers on other machines may be of another release.
LAYOUT = 1


class ScoringFailed(Exception):
    """The table cannot be scored, however often it is tried; the message is for the caller."""


class ScoringInterrupted(Exception):
    """Something that may pass ended the run; starting the same run again continues it."""


class EngineUnavailable(Exception):
    """The engine cannot be used as it was requested; the message is for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFile:
    """A version and its file, which a worker finds by its key and trusts by its digest.

    `storage` is a folder, or the URL of object storage, whose files are kept in `cache` on each
    machine. `call_seconds` limits a call of a model in a process of its own.
    """

    id: int
    name: str
    framework: str
    storage: str
    key: str
    sha256: str
    size_bytes: int
    cache: str
    cache_bytes: int
    signature: JSONObject
    isolation: str
    is_suspect: bool
    trusted_types: Sequence[str]
    origins: Sequence[str]
    memory_bytes: int
    load_seconds: float
    call_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Who answers: the version, or its alias's canary for `percent` of the subjects."""

    primary: VersionFile
    canary: VersionFile | None = None
    percent: float = 0.0
    salt: str = ""

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        canary = document["canary"]
        return cls(
            primary=VersionFile(**document["primary"]),
            canary=None if canary is None else VersionFile(**canary),
            percent=document["percent"],
            salt=document["salt"],
        )

    @property
    def versions(self) -> list[VersionFile]:
        return [self.primary] if self.canary is None else [self.primary, self.canary]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An input file: its path or URL, and what tells it from another of the same name.

    `identity` is `sha256:` and the digest of a local file, or the entity tag that an object storage
    gives. `modified_ns` is when a local file was last changed; it is not part of the identity.
    """

    name: str
    format: str
    size_bytes: int
    identity: str
    modified_ns: int = 0

    def is_same(self, other: "Source") -> bool:
        return (self.name, self.size_bytes, self.identity) == (
            other.name,
            other.size_bytes,
            other.identity,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The rows of one part: row groups `start` to `stop` of a Parquet file, or that range of bytes
    of a text file. `rows_before` counts rows, or the lines of a text. `rows` is None if unknown.
    """

    number: int
    source: int
    start: int
    stop: int
    rows_before: int
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """What all tasks of a run have in common.

    `id_column` is copied into the parts, as INT64 or BYTES. The subject column chooses the arm.
    """

    arms: Arms
    destination: str
    format: str
    id_column: str | None = None
    id_datatype: str = "BYTES"
    subject_column: str | None = None
    layout: int = LAYOUT

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        if document.get("layout") != LAYOUT:
            raise ScoringFailed(
                "The worker has another release of mlapi than the process that sent the task"
            )
        return cls(**{**document, "arms": Arms.from_json(document["arms"])})

    @property
    def others(self) -> list[str]:
        """The columns to read besides features, each once."""
        return list(dict.fromkeys(n for n in (self.id_column, self.subject_column) if n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A published part. `errors` are the first of its rows that have one: number and message."""

    number: int
    name: str
    rows: int
    failed: int
    size_bytes: int
    sha256: str
    errors: Sequence[tuple[int, str]]
    seconds: float
    peak_memory_mib: float

    @classmethod
    def from_json(cls, document: JSONObject) -> Self:
        return cls(**document)

    def as_json(self) -> JSONObject:
        return asdict(self)


def order_of(instructions: Instructions, source: Source, task: Task) -> JSONObject:
    """What a worker is sent."""
    return {
        "instructions": asdict(instructions),
        "source": asdict(source),
        "task": asdict(task),
    }
