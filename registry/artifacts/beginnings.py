"""Which framework's file begins with these bytes. No Django here."""

import re

from registry.artifacts.foreign.protobuf import is_versioned_message

_UBJ_START = re.compile(rb"\{[iUIlL].{1,8}?(learner|version)", re.DOTALL)
# Other JSON documents also begin with a version, but it is not a list.
_JSON_START = re.compile(rb'\s*\{\s*("learner"\s*:\s*\{|"version"\s*:\s*\[)')


def framework_of(head: bytes) -> str | None:
    """The framework whose files begin like this; None for other files and for zip archives."""
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm"
    if _UBJ_START.match(head) or _JSON_START.match(head):
        return "xgboost"
    if head.startswith(b"CBM1"):
        return "catboost"
    return "onnx" if is_versioned_message(head) else None
