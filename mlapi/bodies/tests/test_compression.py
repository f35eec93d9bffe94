"""Streams of text, compressed for the callers that accept it."""

import gzip
import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from rest_framework.test import APIClient

from mlapi.bodies.codings import zstd
from mlapi.bodies.compression import CompressionMiddleware, choose_coding
from mlapi.bodies.tests.calls import CALLS, Call, send
from predictions import ndjson
from predictions.export import streaming
from predictions.serving import services
from predictions.testing.rows import wait_until_followable
from registry.models import ModelVersion

DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
}
NEW_DECODER: Mapping[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zstd": zstd.ZstdDecompressor,
}
EXPORTS = "/api/v1/exports/predictions/"
ROWS = [{"features": [4.5 + i % 30 / 10, 3.0, 1.0, 0.1]} for i in range(50)]


@pytest.fixture
def call() -> Call:
    return CALLS["ndjson"]._replace(body="\n".join(map(json.dumps, ROWS)).encode())


def ask(client: APIClient, call: Call, model: ModelVersion, accepted: str) -> Any:
    return send(client, call._replace(headers={"Accept-Encoding": accepted}), model)


def content(response: Any) -> bytes:
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def without_ids(text: bytes) -> list[Any]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [{name: value for name, value in line.items() if name != "id"} for line in lines]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("br", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("zstd", "zstd"),
        # Equally liked: the better one.
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0,zstd;q=0.9", "gzip"),
        ("zstd ; q=0.5\t,gzip;\tq=0.501", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, zstd;q=0.001", "zstd"),
        ("gzip;q=0.5, identity", None),
        ("gzip, identity", "gzip"),
        ("gzip, *;q=0", "gzip"),
        ("*", None),
        ("*;q=0", None),
        # Malformed.
        ("gzip;q=2, zstd;q=-1", None),
        ("gzip;level=9", None),
        ("gzip zstd", None),
        (",, gzip;q=0.1234, ,zstd,", "zstd"),
    ],
)
def test_the_coding_with_the_highest_weight_is_chosen(accepted: str, coding: str | None) -> None:
    assert choose_coding(accepted) == coding


@pytest.mark.parametrize("coding", DECOMPRESS)
def test_a_compressed_batch_has_the_same_results(
    client: APIClient, model: ModelVersion, call: Call, coding: str
) -> None:
    plain, compressed = ask(client, call, model, "identity"), ask(client, call, model, coding)
    expected, encoded = content(plain), content(compressed)

    assert "Content-Encoding" not in plain.headers
    assert compressed["Content-Encoding"] == coding
    assert "Accept-Encoding" in plain["Vary"]
    assert compressed["Vary"] == plain["Vary"]
    assert compressed["Content-Type"] == plain["Content-Type"]
    assert without_ids(DECOMPRESS[coding](encoded)) == without_ids(expected)
    assert len(encoded) < len(expected) / 3


@pytest.mark.parametrize("coding", DECOMPRESS)
def test_results_can_be_read_before_the_next_chunk_is_scored(
    client: APIClient,
    model: ModelVersion,
    call: Call,
    coding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ndjson, "CHUNK_LINES", 20)
    sizes: list[int] = []
    predict_each = services.predict_each

    def counted(question: Any, inputs: Any) -> Any:
        sizes.append(len(inputs))
        return predict_each(question, inputs)

    monkeypatch.setattr(services, "predict_each", counted)
    pieces = iter(ask(client, call, model, coding).streaming_content)
    decoder = NEW_DECODER[coding]()

    first = decoder.decompress(next(pieces))

    assert [json.loads(line)["line"] for line in first.splitlines()] == list(range(1, 21))
    assert sizes == [20]
    rest = b"".join(decoder.decompress(piece) for piece in pieces)
    assert len((first + rest).splitlines()) == len(ROWS) + 1
    assert decoder.eof


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet"])
def test_exports_as_text_are_compressed(
    client: APIClient, model: ModelVersion, call: Call, format: str
) -> None:
    content(ask(client, call, model, ""))
    wait_until_followable()
    query = {"format": format}
    plain: Any = client.get(EXPORTS, query)
    expected = content(plain)

    response: Any = client.get(EXPORTS, query, headers={"Accept-Encoding": "gzip"})

    if format == "parquet":
        assert "Content-Encoding" not in response.headers
        assert content(response)[:4] == b"PAR1"
    else:
        assert gzip.decompress(content(response)) == expected
        assert "Accept-Encoding" in response["Vary"]
    assert response["Content-Disposition"] == plain["Content-Disposition"]
    # Not equal: the audit event of the first export has moved it on.
    assert int(response["Export-Position"]) >= int(plain["Export-Position"])


@pytest.mark.django_db(transaction=True)
def test_a_compressed_export_that_is_given_up_makes_room(
    client: APIClient, model: ModelVersion, call: Call
) -> None:
    content(ask(client, call, model, ""))
    wait_until_followable()
    headers, query = {"Accept-Encoding": "zstd"}, {"format": "csv"}
    for _ in range(streaming.MAX_STREAMS + 1):
        response: Any = client.get(EXPORTS, query, headers=headers)
        assert response.status_code == 200
        next(iter(response.streaming_content))
        response.close()


def test_a_compressed_batch_is_logged_once_at_its_end(
    client: APIClient, model: ModelVersion, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mlapi.access"):
        response = ask(client, call, model, "gzip")
        assert not caplog.messages
        content(response)

    assert caplog.messages == ["POST /api/v1/predictions/batch/ 200"]


def respond(response: HttpResponseBase, accepted: str = "gzip") -> Any:
    request = RequestFactory().get("/", headers={"Accept-Encoding": accepted})
    return CompressionMiddleware(lambda request: response)(request)


def stream(pieces: Iterator[bytes], content_type: str = "text/csv") -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces, content_type=content_type)


def test_a_stream_that_is_given_up_is_closed() -> None:
    closed = []

    def source() -> Iterator[bytes]:
        try:
            yield b"a" * 100
            yield b"b" * 100
        finally:
            closed.append(True)

    response = respond(stream(source()))
    next(iter(response.streaming_content))
    assert not closed
    response.close()

    assert closed == [True]


def test_a_stream_that_breaks_off_has_no_end() -> None:
    def source() -> Iterator[bytes]:
        yield b"a" * 100
        raise RuntimeError("gone")

    pieces = iter(respond(stream(source())).streaming_content)
    first = next(pieces)

    with pytest.raises(RuntimeError, match="gone"):
        next(pieces)
    with pytest.raises(EOFError):
        gzip.decompress(first)


def test_an_empty_piece_is_not_sent() -> None:
    """Some servers take it for the end of the response."""
    response = respond(stream(iter([b"", b"a", b""])))

    pieces = list(response.streaming_content)

    assert all(pieces)
    assert gzip.decompress(b"".join(pieces)) == b"a"


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(b"a,b\n" * 100, content_type="text/csv"),
        stream(iter([b"a" * 1000]), "application/octet-stream"),
        stream(iter([b"a" * 1000]), "application/vnd.apache.parquet"),
    ],
)
def test_other_responses_stay_as_they_are(response: HttpResponseBase) -> None:
    found = respond(response)

    assert "Content-Encoding" not in found.headers
    assert "Vary" not in found.headers
