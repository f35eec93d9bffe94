"""The document of a remote model: what it may say, and which servers it may name."""

import json
from pathlib import Path
from typing import Any

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


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: Any) -> Path:
        path = tmp_path / "remote.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return path

    return write


def test_a_document_is_read_whole(write: Any) -> None:
    remote = read_document(write(FULL))

    assert str(remote.origin) == "https://ml.example.com:443"
    assert (remote.base_path, remote.model, remote.version) == ("/base/path", "iris", "2")
    assert (remote.timeout_seconds, remote.binary) == (2.5, False)
    assert remote.header_values(ALLOWED) == {"Authorization": "Bearer x"}


def test_the_least_document_names_a_server_and_a_model(write: Any) -> None:
    remote = read_document(write({"url": "http://127.0.0.1:8080", "model": "m"}))

    assert (remote.version, remote.timeout_seconds, remote.binary) == ("", 10.0, None)


@pytest.mark.parametrize(
    ("change", "said"),
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
        ({"headers": {"Host": "MLAPI_REMOTE_X"}}, "'Host' is no header that may be set"),
        ({"headers": {"content-LENGTH": "MLAPI_REMOTE_X"}}, "is no header that may be set"),
        ({"headers": {"X\r\nY": "MLAPI_REMOTE_X"}}, "is no header that may be set"),
        ({"headers": {"X": "SECRET_KEY"}}, "must be the name of an environment variable"),
        ({"headers": {"X": "xMLAPI_REMOTE_X"}}, "must be the name of an environment variable"),
        ({"headers": {"X": 1}}, "must be the name of an environment variable"),
        ({"binary": "yes"}, "binary: must be true or false"),
        ({"proxy": "http://x"}, "unknown member 'proxy'"),
    ],
)
def test_a_mistake_is_named(write: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(LoadError, match=said):
        read_document(write(FULL | change))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"url": "http://a", "url": "http://b", "model": "m"}', "given twice"),
        ('["url"]', "must be a JSON object"),
        ("{", "not JSON"),
        ("[" * 16_000, "not JSON"),
        (json.dumps(FULL) + " " * 16_384, "larger than the limit"),
    ],
)
def test_a_text_that_is_no_document_is_refused(write: Any, text: str, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        read_document(write(text))


# -- which servers


@pytest.mark.parametrize(
    ("url", "origins"),
    [
        ("https://ml.example.com", ["https://ml.example.com:443"]),
        ("https://ml.example.com:443/x", ["https://ml.example.com"]),
        ("http://[::1]:8080", ["http://a", "http://[::1]:8080"]),
        ("http://HOST", ["http://host:80"]),
    ],
)
def test_an_origin_on_the_list_is_allowed(write: Any, url: str, origins: list[str]) -> None:
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
def test_any_other_origin_is_refused(write: Any, origins: list[str]) -> None:
    remote = read_document(write(FULL))

    with pytest.raises(LoadError, match=r"https://ml\.example\.com:443 is not among.*REMOTE_ORIG"):
        RemoteClient(remote, RemoteOptions(frozenset(origins), ALLOWED.secrets))


def test_an_origin_taken_off_the_list_is_not_asked(write: Any) -> None:
    client = RemoteClient(read_document(write(FULL)), ALLOWED)
    client._options = RemoteOptions()

    with pytest.raises(RuntimeUnavailable, match="is not among"):
        client.request("GET", "/v2")


@pytest.mark.parametrize("value", [None, "", " ", "a\r\nHost: evil", "tök"])
def test_a_variable_without_a_header_value_is_named_and_not_shown(
    write: Any, value: str | None
) -> None:
    secrets = {} if value is None else {"MLAPI_REMOTE_TOKEN": value}
    remote: RemoteModel = read_document(write(FULL))

    with pytest.raises(LoadError, match="MLAPI_REMOTE_TOKEN is not set, or is no value") as caught:
        remote.header_values(RemoteOptions(ALLOWED.origins, secrets))

    assert "evil" not in str(caught.value)


def test_options_do_not_show_their_secrets() -> None:
    assert "Bearer x" not in repr(ALLOWED)


# -- told by its content


@pytest.mark.parametrize(
    "body", [FULL, {"version": "2", "url": "http://a", "model": "m"}, {"url": 3}]
)
def test_a_document_is_told_by_its_content(write: Any, body: Any) -> None:
    assert sniff(write(body)) == "open-inference"


def test_xgboost_stays_xgboost(write: Any) -> None:
    assert not is_document(b'{"learner": {}, "version": [3, 2, 0], "url": ""}')
    assert sniff(write({"learner": {}, "version": [3, 2, 0]})) == "xgboost"


def test_other_json_is_refused_with_both_ways_out(write: Any) -> None:
    with pytest.raises(ArtifactRejected, match=r"neither an XGBoost model nor .* a remote model"):
        sniff(write({"weights": [1]}))


def test_another_framework_than_the_document_is_refused(write: Any) -> None:
    with pytest.raises(ArtifactRejected, match="this is a file of 'open-inference'"):
        check_framework(write(FULL), "xgboost")
