"""The document of a remote model: its members, and the servers that it may name."""

import json
from pathlib import Path
from typing import Protocol

import pytest

from registry.artifacts.errors import ArtifactRejected
from registry.artifacts.sniffing import check_framework, sniff
from registry.runtimes.base import LoadError, RemoteOptions, RuntimeUnavailable
from registry.runtimes.open_inference.client import RemoteClient
from registry.runtimes.open_inference.document import RemoteModel, is_document, read_document

FULL = {
    "url": "https://ML.example.com/base/path/",
    "model": "iris",
    "version": "2",
    "timeout_seconds": 2.5,
    "headers": {"Authorization": "MLAPI_REMOTE_TOKEN"},
    "binary": False,
}
ALLOWED = RemoteOptions(frozenset({"https://ml.example.com"}), {"MLAPI_REMOTE_TOKEN": "Bearer x"})


class Write(Protocol):
    def __call__(self, content: object) -> Path: ...


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a text, or the JSON of anything else, to a file."""

    def write(content: object) -> Path:
        path = tmp_path / "remote.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return path

    return write


def test_every_member_is_read(write: Write) -> None:
    remote = read_document(write(FULL))

    assert str(remote.origin) == "https://ml.example.com:443"
    assert (remote.base_path, remote.model, remote.version) == ("/base/path", "iris", "2")
    assert (remote.timeout_seconds, remote.binary) == (2.5, False)
    assert remote.header_values(ALLOWED) == {"Authorization": "Bearer x"}


def test_optional_members_have_defaults(write: Write) -> None:
    remote = read_document(write({"url": "http://127.0.0.1:8080", "model": "m"}))

    assert (remote.version, remote.timeout_seconds, remote.binary) == ("", 10.0, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": None}, "url: must be http"),
        ({"url": "ftp://host/"}, "url: must be http"),
        ({"url": "http://user:word@host"}, "url: must be http"),
        ({"url": "http://host@evil.example"}, "url: must be http"),
        ({"url": "http://host?x=1"}, "url: must be http"),
        ({"url": "http://host/#x"}, "url: must be http"),
        ({"url": "http://host/a/../b"}, "url: must be http"),
        ({"url": "http://host/a%2e%2e/"}, "url: must be http"),
        ({"url": "http://host\\@evil.example/"}, "url: must be http"),
        ({"url": "http://host\n"}, "url: must be http"),
        ({"url": "http://hōst"}, "url: must be http"),
        ({"url": "http://host:0"}, "from 1 to 65535"),
        ({"url": "http://host:65536"}, "from 1 to 65535"),
        ({"model": ""}, "model: must be a name"),
        ({"model": "../admin"}, "model: must be a name"),
        ({"model": ".."}, "model: must be a name"),
        ({"model": "a/b"}, "model: must be a name"),
        ({"model": 3}, "model: must be a name"),
        ({"model": "a" * 201}, "model: must be a name"),
        ({"version": 1}, "version: must be a name"),
        ({"version": ".."}, "version: must be a name"),
        ({"timeout_seconds": 0}, "timeout_seconds: must be from"),
        ({"timeout_seconds": 301}, "timeout_seconds: must be from"),
        ({"timeout_seconds": True}, "timeout_seconds: must be a number"),
        ({"timeout_seconds": "1"}, "timeout_seconds: must be a number"),
        ({"headers": []}, "headers: must be an object"),
        ({"headers": {f"X-{i}": "MLAPI_REMOTE_X" for i in range(21)}}, "at most 20"),
        ({"headers": {"Host": "MLAPI_REMOTE_X"}}, "'Host' cannot be set"),
        ({"headers": {"content-LENGTH": "MLAPI_REMOTE_X"}}, "cannot be set"),
        ({"headers": {"X\r\nY": "MLAPI_REMOTE_X"}}, "cannot be set"),
        ({"headers": {"X": "SECRET_KEY"}}, "must be the name of an environment variable"),
        ({"headers": {"X": "xMLAPI_REMOTE_X"}}, "must be the name of an environment variable"),
        ({"headers": {"X": 1}}, "must be the name of an environment variable"),
        ({"binary": "yes"}, "binary: must be true or false"),
        ({"proxy": "http://x"}, "unknown member 'proxy'"),
    ],
)
def test_an_invalid_member_is_named(write: Write, change: dict[str, object], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read_document(write(FULL | change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"url": "http://a", "url": "http://b", "model": "m"}', "a member appears twice"),
        ('["url"]', "must be a JSON object"),
        ("{", "not valid JSON"),
        ("[" * 16_000, "not valid JSON"),
        (json.dumps(FULL) + " " * 16_384, "larger than the limit"),
    ],
)
def test_an_invalid_document_is_refused(write: Write, text: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read_document(write(text))


# -- allowed servers


@pytest.mark.parametrize(
    ("url", "origins"),
    [
        ("https://ml.example.com", ["https://ml.example.com:443"]),
        ("https://ml.example.com:443/x", ["https://ml.example.com"]),
        ("http://[::1]:8080", ["http://a", "http://[::1]:8080"]),
        ("http://HOST", ["http://host:80"]),
    ],
)
def test_a_listed_origin_is_allowed(write: Write, url: str, origins: list[str]) -> None:
    read_document(write({"url": url, "model": "m"})).require_allowed(
        RemoteOptions(frozenset(origins))
    )


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["http://ml.example.com"],
        ["https://ml.example.com:8443"],
        ["https://example.com"],
        ["https://ml.example.com.evil.example"],
        ["https://x.ml.example.com"],
    ],
)
def test_any_other_origin_is_refused(write: Write, origins: list[str]) -> None:
    remote = read_document(write(FULL))

    with pytest.raises(LoadError, match=r"https://ml\.example\.com:443 is not an.*REMOTE_ORIG"):
        RemoteClient(remote, RemoteOptions(frozenset(origins), ALLOWED.secrets))


def test_an_origin_that_is_no_longer_listed_is_not_called(write: Write) -> None:
    client = RemoteClient(read_document(write(FULL)), ALLOWED)
    client._options = RemoteOptions()

    with pytest.raises(RuntimeUnavailable, match="is not an allowed server"):
        client.request("GET", "/v2")


@pytest.mark.parametrize("value", [None, "", " ", "a\r\nHost: evil", "tök"])
def test_an_invalid_header_value_is_not_shown(write: Write, value: str | None) -> None:
    secrets = {} if value is None else {"MLAPI_REMOTE_TOKEN": value}
    remote: RemoteModel = read_document(write(FULL))

    with pytest.raises(LoadError, match="MLAPI_REMOTE_TOKEN is not set, or its value") as caught:
        remote.header_values(RemoteOptions(ALLOWED.origins, secrets))

    assert "evil" not in str(caught.value)


def test_options_do_not_show_their_secrets() -> None:
    assert "Bearer x" not in repr(ALLOWED)


# -- recognition by content


@pytest.mark.parametrize(
    "body", [FULL, {"version": "2", "url": "http://a", "model": "m"}, {"url": 3}]
)
def test_a_document_is_recognized_by_its_content(write: Write, body: object) -> None:
    assert sniff(write(body)) == "open-inference"


def test_a_model_of_xgboost_is_not_a_document(write: Write) -> None:
    assert not is_document(b'{"learner": {}, "version": [3, 2, 0], "url": ""}')
    assert sniff(write({"learner": {}, "version": [3, 2, 0]})) == "xgboost"


def test_other_json_is_refused_with_both_alternatives(write: Write) -> None:
    with pytest.raises(ArtifactRejected, match=r"neither an XGBoost model nor .* a remote model"):
        sniff(write({"weights": [1]}))


def test_another_framework_than_the_document_is_refused(write: Write) -> None:
    with pytest.raises(ArtifactRejected, match="the file is of 'open-inference'"):
        check_framework(write(FULL), "xgboost")
