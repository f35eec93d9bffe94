"""Scores rows with a runtime as a request does."""

from typing import Any

from registry.runtimes.base import Outputs, Runtime
from registry.signatures.arrangement import arrange
from registry.signatures.signature import Signature


def score(runtime: Runtime, rows: Any, signature: Signature | None = None) -> Outputs:
    """The runtime's outputs for rows of values, arranged as a request's are."""
    features = [{"features": list(row)} for row in rows]
    return runtime.predict(arrange(signature or runtime.signature, features))
