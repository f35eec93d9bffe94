"""Streams of bodies: every way to read one gives all of it, or an error."""

import contextlib
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlapi.bodies.codings import (
    CODINGS,
    ZSTD_WINDOW_LOG,
    UnknownCoding,
    read_content_encoding,
    zstd,
)
from mlapi.bodies.streams import BodyDamaged, BodyIncomplete, BodyTooLarge, body_stream
from mlapi.bodies.tests.calls import COMPRESS

TEXT = b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000))
COMPRESSED = {coding: compress(TEXT) for coding, compress in COMPRESS.items()}


def stream(
    content: bytes, coding: str = "", *, length: int | None = None, limit: int = 2**30
) -> io.BufferedReader:
    return body_stream(
        io.BytesIO(content),
        length=len(content) if length is None else length,
        coding=read_content_encoding(coding),
        limit_bytes=limit,
    )


@pytest.mark.parametrize("coding", ["", "identity", "gzip", "X-GZIP", "deflate", "Zstd"])
@pytest.mark.parametrize("size", [1000, 2**16, len(TEXT), len(TEXT) + 1, -1])
def test_a_body_is_read_in_pieces_of_any_size(coding: str, size: int) -> None:
    content = COMPRESSED.get(coding.lower().removeprefix("x-"), TEXT)
    body = stream(content, coding)

    pieces = list(iter(lambda: body.read(size), b""))

    assert b"".join(pieces) == TEXT
    assert all(len(piece) == size for piece in pieces[:-1])


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_body_is_read_line_by_line(coding: str) -> None:
    assert list(stream(COMPRESSED.get(coding, TEXT), coding)) == TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("coding", ["", *CODINGS])
def test_a_body_that_is_shorter_than_its_length_is_incomplete(coding: str) -> None:
    content = COMPRESSED.get(coding, TEXT)
    body = stream(content, coding, length=len(content) + 1)

    with pytest.raises(BodyIncomplete, match=f"after {len(content)} of the {len(content) + 1}"):
        body.read()


def test_nothing_is_read_beyond_the_length() -> None:
    source = io.BytesIO(b"first second")

    body = body_stream(source, length=5, coding=None, limit_bytes=100)

    assert body.read() == b"first"
    assert source.read() == b" second"


def test_a_source_that_knows_its_end_needs_no_length() -> None:
    body = body_stream(io.BytesIO(TEXT), length=None, coding=None, limit_bytes=len(TEXT))

    assert body.read() == TEXT


def test_a_body_of_unknown_length_is_bounded() -> None:
    body = body_stream(io.BytesIO(TEXT), length=None, coding=None, limit_bytes=len(TEXT) - 1)

    with pytest.raises(BodyTooLarge):
        body.read()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body_that_is_cut_off_is_damaged(coding: str) -> None:
    content = COMPRESSED[coding]

    for end in (1, 5, len(content) // 2, len(content) - 1):
        with pytest.raises(BodyDamaged, match="cut off"):
            stream(content[:end], coding).read()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("rest", [b"x", b"\0", b"{}" * 50])
def test_data_after_a_compressed_body_is_refused(coding: str, rest: bytes) -> None:
    with pytest.raises(BodyDamaged):
        stream(COMPRESSED[coding] + rest, coding).read()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_files_that_are_joined_are_one_body(coding: str) -> None:
    assert stream(COMPRESSED[coding] * 3, coding).read() == TEXT * 3


def test_a_body_in_another_coding_than_announced_is_damaged() -> None:
    for coding in CODINGS:
        with pytest.raises(BodyDamaged, match=f"not valid {coding}"):
            stream(TEXT, coding).read()


@pytest.mark.parametrize("coding", CODINGS)
def test_the_limit_counts_decoded_bytes(coding: str) -> None:
    content = COMPRESSED[coding]
    assert len(content) < len(TEXT) // 2

    assert stream(content, coding, limit=len(TEXT)).read() == TEXT
    with pytest.raises(BodyTooLarge, match=str(len(TEXT) - 1)):
        stream(content, coding, limit=len(TEXT) - 1).read()


@pytest.mark.parametrize("coding", CODINGS)
def test_little_of_a_bomb_is_decoded(coding: str) -> None:
    zeros = bytes(2**26)
    body = stream(COMPRESS[coding](zeros), coding, limit=1000)

    with pytest.raises(BodyTooLarge):
        body.read()


def test_a_zstd_body_that_needs_much_memory_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG + 1,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=options)
    content = compressor.compress(bytes(2**20)) + compressor.flush()

    with pytest.raises(BodyDamaged):
        stream(content, "zstd").read()


@given(st.data())
def test_damaged_bodies_raise_nothing_else(data: st.DataObject) -> None:
    coding = data.draw(st.sampled_from(list(CODINGS)))
    content = bytearray(COMPRESSED[coding])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with contextlib.suppress(BodyDamaged, BodyTooLarge):
        stream(bytes(content), coding, limit=2**20).read()


@pytest.mark.parametrize("header", ["br", "gzip, gzip", "gzip;q=1", "compress", "x" * 1000])
def test_an_unknown_coding_names_the_known_ones(header: str) -> None:
    with pytest.raises(UnknownCoding, match="gzip, deflate, zstd") as raised:
        read_content_encoding(header)
    assert len(str(raised.value)) < 300


class Endless:
    """A chunked body that goes on forever."""

    def __init__(self, piece: bytes) -> None:
        self._bytes = itertools.cycle(piece)

    def read(self, size: int, /) -> bytes:
        return bytes(itertools.islice(self._bytes, size))


@pytest.mark.parametrize("coding", ["", "gzip", "zstd"])
def test_a_chunked_body_that_is_decoded_to_nothing_has_a_limit_too(coding: str) -> None:
    member = COMPRESS[coding](b"") if coding else b" "
    body = body_stream(
        Endless(member), length=None, coding=read_content_encoding(coding), limit_bytes=100_000
    )

    with pytest.raises(BodyTooLarge, match="The request body is larger than the limit"):
        body.read()
