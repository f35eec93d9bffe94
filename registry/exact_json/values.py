"""Which JSON values can be stored and read back exactly, on every database. No Django here."""

import json
import math
import re
from typing import Any, TypeAlias

import orjson

JSONObject: TypeAlias = dict[str, Any]

# Deeper values exist only to exhaust the stack of whatever reads them.
MAX_JSON_DEPTH = 100
# What a version or a prediction carries beside its input: metrics, tags, metadata.
MAX_ANNOTATION_BYTES = 65_536

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

# Fewer digits fit into 64 bits, and more in a fraction are none of an integer.
_LONG_NUMBER = re.compile(rb"\d{19}")


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text, exactly; raises ValueError with the reason where it can not be.

    orjson rounds longer integers to floats in silence, so a text that may hold one is read again.
    The value is walked only where the text has what `check_json` refuses and orjson takes.
    """
    value = orjson.loads(raw)
    if b"\\u" in raw:
        check_json(value)
    elif raw.count(b"[") + raw.count(b"{") > MAX_JSON_DEPTH:
        _check_depth(value)
    # After the depth was looked at, which would exhaust the stack here.
    if _LONG_NUMBER.search(raw):
        json.loads(raw, parse_int=_bounded_integer)
    return value


def check_json(value: object) -> None:
    """Raise ValueError, with the reason, unless `value` survives a round trip through text and SQL.

    Refused are NaN and infinity, integers past 64 bits (JSON readers round them), NUL and lone
    surrogates in text (PostgreSQL stores neither), nesting deeper than MAX_JSON_DEPTH, and what is
    no JSON at all.
    """
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict | list):
            if depth >= MAX_JSON_DEPTH:
                raise ValueError(f"Must not be nested deeper than {MAX_JSON_DEPTH} levels.")
            if isinstance(item, dict):
                for key in item:
                    _check_key(key)
            children = item.values() if isinstance(item, dict) else item
            waiting.extend((child, depth + 1) for child in children)
        else:
            _check_scalar(item)


def _check_depth(value: object) -> None:
    level: list[Any] = [value] if isinstance(value, dict | list) else []
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
    """`check_json`, and raise ValueError where the value takes more than MAX_ANNOTATION_BYTES."""
    check_json(value)
    size = len(orjson.dumps(value))
    if size > MAX_ANNOTATION_BYTES:
        raise ValueError(
            f"Must not take more than {MAX_ANNOTATION_BYTES} bytes of JSON, not {size}."
        )


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ValueError(f"Must have text as keys, not {key!r}.")
    _check_text(key)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("Must not contain the character U+0000.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("Must not contain half of a surrogate pair.")


def _bounded_integer(digits: str) -> int:
    # The length is looked at first: Python itself refuses to read thousands of digits.
    if len(digits) > 20 or not MIN_INTEGER <= int(digits) <= MAX_INTEGER:
        raise ValueError(f"Must not contain integers past 64 bits, such as {digits[:40]}.")
    return int(digits)


def _check_scalar(value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise ValueError(f"Must not contain integers past 64 bits, such as {str(value)[:40]}.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("Must not contain NaN or infinity.")
    else:
        raise ValueError(f"Must be JSON, not {type(value).__name__}.")
