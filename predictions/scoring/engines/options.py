"""Which engine does the work, and how it is reached. No Django here."""

from dataclasses import dataclass

ENGINES = ("local", "dask")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """`workers` are those of this machine. A `scheduler` is a running cluster's, `tls://` and its
    address; `certificates` are the paths of the authority, of the certificate and of its key.
    """

    name: str = "local"
    workers: int = 1
    scheduler: str | None = None
    certificates: tuple[str, str, str] | None = None
    is_insecure_allowed: bool = False
