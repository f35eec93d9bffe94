"""Tells ONNX from the other models in Protocol Buffers. No Django here.

Only the tags and lengths of the outermost message are read. ModelProto (`onnx.proto`) has its graph
in field 7. Core ML's Model (`Model.proto`) has the kind of model in a field from 200 on,
TensorFlow's SavedModel (`saved_model.proto`) only the fields 1 and 2, and GraphDef (`graph.proto`)
its nodes in field 1.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from registry.artifacts.foreign import advice
from registry.artifacts.foreign.advice import Foreign

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELDS = 100_000
_GRAPH = 7
_COREML_FIELDS = range(200, 4000)
# A node: its name, and the name of its operation, which begins with a capital letter.
_GRAPH_DEF = re.compile(rb"\x0a.{1,3}?\x0a[\x01-\x7f][\w./^:-]+\x12[\x02-\x40][A-Z_]\w+", re.DOTALL)


class Field(NamedTuple):
    """The number, the wire type and the length in bytes of a field."""

    number: int
    kind: int
    length: int


class ProtobufError(ValueError):
    """The bytes are no message, or it is cut."""


def is_versioned_message(head: bytes) -> bool:
    """Whether the first field is a small version number, as in ONNX, Core ML and SavedModel."""
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 32


def describe_message(content: memoryview) -> Foreign | None:
    """What the message of a versioned model is, if it is not ONNX.

    None also if the message is cut: then the proof says so.
    """
    fields: dict[int, Field] = {}
    is_cut = False
    try:
        for field in read_fields(content):
            fields.setdefault(field.number, field)
    except ProtobufError:
        is_cut = True
    if any(number in _COREML_FIELDS for number in fields):
        return advice.reexport("a Core ML model (.mlmodel)")
    second = fields.get(2)
    # ONNX has the short name of its producer there.
    if second and fields.keys() == {1, 2} and second.kind == _BYTES and second.length > 64:
        return advice.tensorflow("a TensorFlow SavedModel", "--saved-model FOLDER")
    if is_cut or _GRAPH in fields:
        return None
    if second and second.kind == _VARINT:
        return advice.data("a tensor of ONNX (.pb)")
    return advice.data("a message of Protocol Buffers without an ONNX graph")


def is_graph_def(head: bytes) -> bool:
    return _GRAPH_DEF.match(head) is not None


def read_fields(content: memoryview) -> Iterator[Field]:
    """The fields of the outermost message, at most _MAX_FIELDS; raises ProtobufError."""
    position = 0
    for _ in range(_MAX_FIELDS):
        if position >= len(content):
            return
        tag, position = _read_varint(content, position)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ProtobufError("a field has the number 0")
        if kind == _VARINT:
            _, end = _read_varint(content, position)
        elif kind == _BYTES:
            length, position = _read_varint(content, position)
            end = position + length
        elif kind in (_FIXED64, _FIXED32):
            end = position + (8 if kind == _FIXED64 else 4)
        else:
            raise ProtobufError(f"a field has the wire type {kind}")
        if end > len(content):
            raise ProtobufError("a field is cut")
        yield Field(number, kind, end - position)
        position = end


def _read_varint(content: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if position + i >= len(content):
            break
        byte = content[position + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    raise ProtobufError("a number is cut")
