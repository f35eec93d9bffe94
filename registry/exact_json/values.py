"""The JSON values that every database stores and returns exactly. No Django here."""

import json
import math
import re
from typing import Any, TypeAlias

import orjson

JSONObject: TypeAlias = dict[str, Any]

# Deeper nesting only serves to exhaust the stack of whatever reads it.
MAX_JSON_DEPTH = 100
# For metrics, tags and metadata.
MAX_ANNOTATION_BYTES = 65_536

# Windows programs begin text with it. A parser of JSON may ignore it (RFC 8259, section 8.1).
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

# Integers with fewer digits fit into 64 bits. A long fraction matches as well, which costs a second
# parse but is otherwise harmless.
_LONG_NUMBER = re.compile(rb"\d{19}")


def parse_json(raw: bytes) -> Any:
    """Parse JSON text exactly; raises ValueError with the reason if that is impossible.

    Accepts what `check_json` accepts, but only walks the value if the text contains something that
    orjson accepts and `check_json` refuses.
    """
    value = orjson.loads(raw)
    if b"\\u" in raw:
        check_json(value)
    elif raw.count(b"[") + raw.count(b"{") > MAX_JSON_DEPTH:
        _check_depth(value)
    # orjson silently rounds long integers to floats, so text that may contain one is parsed again.
    # The depth must be checked before, because deep nesting would exhaust the stack here.
    if _LONG_NUMBER.search(raw):
        json.loads(raw, parse_int=_bounded_integer)
    return value


def parse_json_body(raw: bytes) -> Any:
    """`parse_json` for a request body or a file, which may begin with a byte order mark."""
    return parse_json(raw.removeprefix(BYTE_ORDER_MARK))


def check_json(value: object) -> None:
    """Raise ValueError, with the reason, unless `value` survives a round trip through text and SQL.

    These do not: NaN and infinity, integers beyond 64 bits (JSON parsers round them), NUL and lone
    surrogates in strings (PostgreSQL stores neither), nesting deeper than MAX_JSON_DEPTH, and
    anything that is not JSON.
    """
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict | list):
            if depth >= MAX_JSON_DEPTH:
                raise ValueError(f"Must not be nested deeper than {MAX_JSON_DEPTH} levels.")
            if isinstance(item, dict):
                for key in item:
                    _check_key(key)
            children = item.values() if isinstance(item, dict) else item
            pending.extend((child, depth + 1) for child in children)
        else:
            _check_scalar(item)


def _check_depth(value: object) -> None:
    level: list[dict[str, object] | list[object]] = (
        [value] if isinstance(value, dict | list) else []
    )
    for _ in range(MAX_JSON_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"Must not be nested deeper than {MAX_JSON_DEPTH} levels.")


def check_annotation(value: object) -> None:
    """Like `check_json`, but also refuse a value of more than MAX_ANNOTATION_BYTES."""
    check_json(value)
    size = len(orjson.dumps(value))
    if size > MAX_ANNOTATION_BYTES:
        raise ValueError(f"Must not exceed {MAX_ANNOTATION_BYTES} bytes of JSON; this has {size}.")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ValueError(f"Must have strings as keys, not {key!r}.")
    _check_text(key)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("Must not contain the character U+0000.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("Must not contain a lone surrogate.")


def _bounded_integer(digits: str) -> int:
    # The length comes first, because int() refuses thousands of digits.
    if len(digits) > 20 or not MIN_INTEGER <= int(digits) <= MAX_INTEGER:
        raise ValueError(f"Must not contain integers beyond 64 bits, such as {digits[:40]}.")
    return int(digits)


def _check_scalar(value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise ValueError(
                f"Must not contain integers beyond 64 bits, such as {str(value)[:40]}."
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("Must not contain NaN or infinity.")
    else:
        raise ValueError(f"Must be JSON, not {type(value).__name__}.")
