"""The URL of a target, and whether it may be called."""

import re
from dataclasses import dataclass

from django.conf import settings

from registry.http_client.origins import DEFAULT_PORTS, Origin
from registry.models.webhooks import MAX_URL_LENGTH

# Stricter than RFC 3986, so that no two readers of a URL disagree about its host.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
)


class InvalidURL(Exception):
    """The URL cannot be a target. The message can be shown to the caller."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes: a server, and a path with its query."""

    origin: Origin
    path: str


def read_url(url: str) -> Target:
    """Raises InvalidURL."""
    if len(url) > MAX_URL_LENGTH:
        raise InvalidURL(f"The URL may have at most {MAX_URL_LENGTH} characters")
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidURL(
            "The URL must be http(s)://host[:port][/path][?query], without a user name or fragment"
        )
    port = int(match["port"] or DEFAULT_PORTS[match["scheme"]])
    if not 0 < port < 65536:
        raise InvalidURL("The port must be from 1 to 65535")
    path = match["path"] if match["path"].startswith("/") else f"/{match['path']}"
    return Target(Origin(match["scheme"], match["host"].lower(), port), path)


def allowed_target(url: str) -> Target:
    """The target of a URL whose origin is in WEBHOOK_ORIGINS. Raises InvalidURL."""
    target = read_url(url)
    if target.origin not in {read_url(origin).origin for origin in settings.WEBHOOK_ORIGINS}:
        raise InvalidURL(
            f"{target.origin} is not an allowed server. The operator of this installation can add"
            " it to the setting WEBHOOK_ORIGINS"
        )
    return target
