"""Reads UBJSON as XGBoost writes it. No Django here.

Arrays of numbers have a type and a length, and become numpy arrays without a loop.

Source: https://ubjson.org, and src/common/json.cc of dmlc/xgboost.
"""

import struct
from typing import Any

import numpy as np

_NUMBERS: dict[int, "np.dtype[Any]"] = {
    ord("i"): np.dtype("i1"),
    ord("U"): np.dtype("u1"),
    ord("I"): np.dtype(">i2"),
    ord("l"): np.dtype(">i4"),
    ord("L"): np.dtype(">i8"),
    ord("d"): np.dtype(">f4"),
    ord("D"): np.dtype(">f8"),
}
_CONSTANTS = {ord("Z"): None, ord("T"): True, ord("F"): False}
_MAX_DEPTH = 32


def read_ubjson(content: bytes) -> Any:
    """The value in the content; raises ValueError."""
    try:
        return _Reader(memoryview(content)).value(content[0], 1, 0)[0]
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError("the UBJSON is damaged") from error


class _Reader:
    """Each method returns what it read from a position, and the position behind it."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def value(self, kind: int, at: int, depth: int) -> tuple[Any, int]:
        if depth > _MAX_DEPTH:
            raise ValueError("the UBJSON is nested too deeply")
        if kind in _NUMBERS:
            return self._numbers(kind, 1, at)[0][0].item(), at + _NUMBERS[kind].itemsize
        if kind in _CONSTANTS:
            return _CONSTANTS[kind], at
        if kind == ord("S"):
            return self._text(at)
        if kind == ord("["):
            return self._array(at, depth + 1)
        if kind == ord("{"):
            return self._object(at, depth + 1)
        raise ValueError(f"the UBJSON contains the unknown type {kind}")

    def _array(self, at: int, depth: int) -> tuple[Any, int]:
        content = self._content
        if content[at] == ord("$"):
            return self._typed_array(content[at + 1], at + 2)
        count = None
        if content[at] == ord("#"):
            count, at = self._length(at + 1)
        values: list[Any] = []
        while content[at] != ord("]") if count is None else len(values) < count:
            value, at = self.value(content[at], at + 1, depth)
            values.append(value)
        return values, at + (count is None)

    def _typed_array(self, kind: int, at: int) -> tuple[np.ndarray, int]:
        if self._content[at] != ord("#") or kind not in _NUMBERS:
            raise ValueError("the UBJSON contains an array of an unknown kind")
        count, at = self._length(at + 1)
        return self._numbers(kind, count, at)

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        content = self._content
        members: dict[str, Any] = {}
        while content[at] != ord("}"):
            name, at = self._text(at)
            members[name], at = self.value(content[at], at + 1, depth)
        return members, at + 1

    def _text(self, at: int) -> tuple[str, int]:
        size, at = self._length(at)
        if at + size > len(self._content):
            raise IndexError
        return bytes(self._content[at : at + size]).decode(), at + size

    def _length(self, at: int) -> tuple[int, int]:
        kind = self._content[at]
        if kind not in _NUMBERS or _NUMBERS[kind].kind == "f":
            raise ValueError("the UBJSON contains an invalid length")
        length = int(self._numbers(kind, 1, at + 1)[0][0])
        if length < 0:
            raise ValueError("the UBJSON contains a negative length")
        return length, at + 1 + _NUMBERS[kind].itemsize

    def _numbers(self, kind: int, count: int, at: int) -> tuple[np.ndarray, int]:
        dtype = _NUMBERS[kind]
        end = at + count * dtype.itemsize
        if end > len(self._content):
            raise IndexError
        return np.frombuffer(self._content, dtype, count, at), end
