"""The artifact of a remote model: a small JSON document with its address. No Django here.

    {"url": "https://host:8080", "model": "iris", "version": "1", "timeout_seconds": 10,
     "headers": {"Authorization": "MLAPI_REMOTE_TOKEN"}, "binary": true}

`url` and `model` are required. A header's value is read from the named environment variable.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.http_client.origins import DEFAULT_PORTS, Origin
from registry.runtimes.base import SECRET_PREFIX, LoadError, RemoteOptions

MAX_DOCUMENT_BYTES = 16_384
DEFAULT_TIMEOUT_SECONDS = 10.0
MAX_TIMEOUT_SECONDS = 300.0
MAX_HEADERS = 20

_KEYS = frozenset({"url", "model", "version", "timeout_seconds", "headers", "binary"})
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?"
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._~:@+-]{0,199}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
_VARIABLE = re.compile(SECRET_PREFIX + r"[A-Z0-9_]{1,100}")
# The HTTP client sets the headers that frame the message or route it.
_CLIENT_HEADERS = frozenset(
    (
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "inference-header-content-length",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model on another server.

    A `version` of "" leaves the choice to the server. `headers` are names of environment variables
    by header. With `binary` None, tensors are sent as binary data if the server supports it.
    """

    origin: Origin
    base_path: str
    model: str
    version: str
    timeout_seconds: float
    headers: Mapping[str, str]
    binary: bool | None

    def require_allowed(self, options: RemoteOptions) -> None:
        """Raise LoadError unless the origin is one of `options.origins`."""
        if self.origin not in {read_url(allowed)[0] for allowed in options.origins}:
            raise LoadError(
                f"url: {self.origin} is not an allowed server. The operator of this installation "
                "can add it to the setting REMOTE_ORIGINS"
            )

    def header_values(self, options: RemoteOptions) -> dict[str, str]:
        """The headers to send; raises LoadError, whose message never contains a value."""
        values: dict[str, str] = {}
        for header, variable in self.headers.items():
            value = options.secrets.get(variable, "").strip()
            if not _HEADER_VALUE.fullmatch(value):
                raise LoadError(
                    f"headers.{header}: the environment variable {variable} is not set, or its "
                    "value is not valid in a header"
                )
            values[header] = value
        return values


def is_document(content: bytes) -> bool:
    """Whether this is a JSON object with a `url`, which no model file has; it may be invalid."""
    try:
        body = json.loads(content) if len(content) <= MAX_DOCUMENT_BYTES else None
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and "url" in body and "learner" not in body


def read_document(path: Path) -> RemoteModel:
    """Parse and validate the document in a file; raises LoadError that names the wrong member."""
    content = path.read_bytes()
    if len(content) > MAX_DOCUMENT_BYTES:
        raise LoadError(f"the document is larger than the limit of {MAX_DOCUMENT_BYTES} bytes")
    try:
        body = json.loads(content, object_pairs_hook=_unique_members)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"the document is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise LoadError("the document must be a JSON object")
    unknown = sorted(body.keys() - _KEYS)
    if unknown:
        raise LoadError(
            f"unknown member '{unknown[0]}'; the document may have {', '.join(sorted(_KEYS))}"
        )
    origin, base_path = read_url(body.get("url"))
    return RemoteModel(
        origin,
        base_path,
        _name(body.get("model"), "model"),
        _name(body["version"], "version") if "version" in body else "",
        _timeout(body.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        _headers(body.get("headers", {})),
        _binary(body.get("binary")),
    )


def read_url(url: object) -> tuple[Origin, str]:
    """The origin of a URL and the path that precedes the protocol's own; raises LoadError."""
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None or {".", ".."} & set(match["path"].split("/")):
        raise LoadError(
            "url: must be http(s)://host[:port][/path], without credentials, query or fragment"
        )
    port = int(match["port"] or DEFAULT_PORTS[match["scheme"]])
    if not 0 < port < 65536:
        raise LoadError("url: the port must be from 1 to 65535")
    return Origin(match["scheme"], match["host"].lower(), port), match["path"]


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) < len(pairs):
        raise ValueError("a member appears twice")
    return body


def _name(value: object, member: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise LoadError(
            f"{member}: must be a name of at most 200 letters, digits, spaces and . _ ~ : @ + -, "
            "which starts with a letter, a digit or _"
        )
    return value


def _timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LoadError("timeout_seconds: must be a number")
    if not 0.01 <= value <= MAX_TIMEOUT_SECONDS:
        raise LoadError(f"timeout_seconds: must be from 0.01 to {MAX_TIMEOUT_SECONDS:g}")
    return float(value)


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise LoadError(f"headers: must be an object of at most {MAX_HEADERS} headers")
    for header, variable in value.items():
        if not _HEADER_NAME.fullmatch(header) or header.lower() in _CLIENT_HEADERS:
            raise LoadError(
                f"headers: '{header[:100]}' cannot be set: it is not a valid header name, or the "
                "HTTP client sets it"
            )
        if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
            raise LoadError(
                f"headers.{header}: must be the name of an environment variable that starts with "
                f"{SECRET_PREFIX}, not a value"
            )
    return value


def _binary(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise LoadError("binary: must be true or false")
    return value
