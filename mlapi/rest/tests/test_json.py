"""JSON in requests and responses: exact, or rejected."""

import io
import json
import math
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError
from rest_framework.test import APIClient

from mlapi.rest.parsers import JSONParser, MultiPartParser, PayloadTooLarge
from mlapi.rest.renderers import JSONRenderer

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc é"), inner),
)


def context(length: int | str = "") -> dict[str, Any]:
    return {"request": SimpleNamespace(META={"CONTENT_LENGTH": str(length)})}


def parse(raw: bytes) -> Any:
    return JSONParser().parse(io.BytesIO(raw), "application/json", context(len(raw)))


@given(JSON_VALUES)
def test_values_survive_a_round_trip(value: Any) -> None:
    assert parse(JSONRenderer().render({"value": value}))["value"] == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e400]",
        b"[" + b"9" * 400 + b".0]",
        b"[18446744073709551616]",
        b"[-9223372036854775809]",
        b"[" + b"1" * 5000 + b"]",
        b'["\\u0000"]',
        b'{"\\u0000": 1}',
        b'["\\ud800"]',
        b'["a\0b"]',
        b'["\xff"]',
        b"[" * 101 + b"]" * 101,
        b'{"a":' * 101 + b"1" + b"}" * 101,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_values_that_cannot_be_kept_exactly_are_rejected(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"[18446744073709551615, -9223372036854775808]",
        b"[1e20, 1e300, 0.1234567890123456789012345]",
        b'["18446744073709551616"]',
        b'["\\u00e9\\ud83d\\ude00"]',
        b"[" * 100 + b"]" * 100,
    ],
)
def test_values_at_the_limits_are_accepted(raw: bytes) -> None:
    assert parse(raw) == json.loads(raw)


def test_message_names_a_number_above_64_bits() -> None:
    with pytest.raises(ParseError, match="18446744073709551617"):
        parse(b'{"n": 18446744073709551617}')


class Unreadable(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("The body must not be read")


def test_large_json_is_rejected_before_reading(settings: Any) -> None:
    settings.MAX_REQUEST_BYTES = 1000

    with pytest.raises(PayloadTooLarge):
        JSONParser().parse(Unreadable(), "application/json", context(1001))


def test_large_form_is_rejected_before_reading(settings: Any) -> None:
    settings.MAX_REQUEST_BYTES, settings.MAX_ARTIFACT_BYTES = 1000, 5000

    with pytest.raises(PayloadTooLarge):
        MultiPartParser().parse(Unreadable(), "multipart/form-data", context(6001))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_in_a_response_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="NaN"):
        JSONRenderer().render({"rows": [{"a": (1.0, value)}]})


def test_integers_above_64_bits_are_written_exactly() -> None:
    assert JSONRenderer().render([10**20]) == b"[100000000000000000000]"


def test_no_data_is_an_empty_body() -> None:
    assert JSONRenderer().render(None) == b""


def test_utc_times_end_in_z() -> None:
    value = [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), lazystr("lazy")]

    assert JSONRenderer().render(value) == b'["2026-01-02T03:04:05Z","lazy"]'


def test_deep_body_with_a_long_number_answers_400(client: APIClient) -> None:
    body = "[" * 1000 + "1234567890123456789" + "]" * 1000

    response = client.generic("POST", "/api/v1/auth/token/", body, content_type="application/json")

    assert response.status_code == 400
    assert "deeper" in response.json()["detail"]
