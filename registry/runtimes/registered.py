"""Whether a file is read as it was at its registration. No Django here."""

from registry.runtimes.base import LoadError
from registry.signatures.signature import Output, Signature


def require_same_outputs(found: Signature, stored: Signature) -> None:
    """Raise LoadError unless the runtime reads the file's outputs as it did at registration.

    A later release of mlapi may read them differently; then the stored signature would misread its
    arrays.
    """
    is_unbatched = [signature.batching == "unbatched" for signature in (found, stored)]
    if (
        len(found.outputs) != len(stored.outputs)
        or not all(map(_is_same_output, found.outputs, stored.outputs))
        or is_unbatched[0] != is_unbatched[1]
    ):
        raise LoadError(
            "this release of mlapi reads the file's outputs differently than the one that "
            "registered it: run manage.py reprove_models, or register the file again"
        )


def _is_same_output(found: Output, stored: Output) -> bool:
    if found.name != stored.name:
        return False
    # An output that only claims to be probabilities is stored as a value.
    if (found.kind, stored.kind) == ("probabilities", "value"):
        return True
    # Classes that the file only numbers may have been given names.
    is_numbered = found.classes == tuple(range(len(stored.classes)))
    return found.kind == stored.kind and (is_numbered or found.classes == stored.classes)
