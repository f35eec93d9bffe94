"""The content types of MLServer, which say what the values of a tensor stand for. No Django here.

`np`, and `str` for texts, are how mlapi reads tensors anyway. `base64` and `pd_json` are texts that
hold something else and are decoded. A content type that mlapi cannot honour is refused, as its
values would be scored for what they are not.

Source: `docs-gb/user-guide/content-type.md` and `mlserver/codecs` in SeldonIO/MLServer.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from registry.exact_json.values import check_json, parse_json
from registry.open_inference.binary import TensorError

Value: TypeAlias = str | int | float | bool | None

PARAMETER = "content_type"
SENT_AS_THEY_ARE = ("np", "str")
OF_TENSORS = (*SENT_AS_THEY_ARE, "base64", "pd_json")
OF_REQUESTS = ("np", "str", "pd")
OF_OUTPUTS = ("np", "str", "base64")
_OF_TEXTS = ("str", "base64", "pd_json")
_NO_DATES = "a model has no datetime inputs: send the texts or numbers that it was trained on"


def read_content_type(
    parameters: Mapping[str, object], allowed: Sequence[str], place: str
) -> str | None:
    """The content type in these parameters, None for none; raises TensorError."""
    value = parameters.get(PARAMETER)
    if value is None or (isinstance(value, str) and value in allowed):
        return value
    problem = f"{place}: the content_type {_shown(value)} is not supported"
    if value == "datetime":
        raise TensorError(f"{problem}, since {_NO_DATES}")
    if value == "pd":
        raise TensorError(f"{problem} there, only for a whole request")
    if value in OF_TENSORS:
        raise TensorError(f"{problem} there, only for a tensor")
    raise TensorError(f"{problem}; use {', '.join(allowed)} or leave it out")


def require_texts(content_type: str | None, datatype: str, name: str) -> None:
    """Raise TensorError if the content type is one of texts, and the datatype is not."""
    if content_type in _OF_TEXTS and datatype != "BYTES":
        raise TensorError(
            f"'{name}': the content_type '{content_type}' is for BYTES, not {datatype}"
        )


def decode_values(values: Sequence[Value], content_type: str, name: str) -> list[Value]:
    """What the texts of a BYTES tensor stand for; null stays missing. Raises TensorError."""
    if content_type == "base64":
        return [_from_base64(value, name) for value in values]
    if content_type == "pd_json":
        return [_from_json(value, name) for value in values]
    return list(values)


def encode_base64(values: Sequence[Value]) -> list[Value]:
    return [None if v is None else base64.b64encode(str(v).encode()).decode() for v in values]


def _from_base64(value: Value, name: str) -> Value:
    if value is None:
        return None
    try:
        text = base64.b64decode(str(value), validate=True).decode()
        check_json(text)
    except UnicodeDecodeError as error:
        raise TensorError(
            f"'{name}' holds base64 data that is not text in UTF-8; mlapi takes texts only"
        ) from error
    # A text that is not ASCII is a ValueError, as is a U+0000 in the decoded one.
    except (binascii.Error, ValueError) as error:
        raise TensorError(f"'{name}' holds a text that is not base64: {error}") from error
    return text


def _from_json(value: Value, name: str) -> Value:
    if value is None:
        return None
    try:
        parsed: object = parse_json(str(value).encode())
    except ValueError as error:
        raise TensorError(f"'{name}' holds a text that is not JSON: {error}") from error
    if parsed is None or isinstance(parsed, str | int | float | bool):
        return parsed
    kind = "an object" if isinstance(parsed, dict) else "a list"
    raise TensorError(f"'{name}' holds the JSON of {kind}; it must be a text, number, bool or null")


def _shown(value: object) -> str:
    return repr(value)[:60]
