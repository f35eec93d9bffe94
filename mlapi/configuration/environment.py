"""Strict readers of environment values: a typing error stops the start, with one line."""

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Their values never appear in a message: start-up errors end up in logs and tickets.
SECRET_NAMES = frozenset({"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN"})


def load_environment(env_file: Path) -> "Environment":
    """The process's environment, completed from `env_file` where that sets more."""
    # The library logs a line for a missing file, before logging is configured.
    logging.getLogger("environ").setLevel(logging.WARNING)
    if env_file.is_file():
        environ.Env.read_env(env_file, overwrite=False)
    return Environment(os.environ)


class Environment:
    """Reads variables by kind.

    Defaults are given as text and take the same way as values do, so that `.env.example` can show
    them and a test compare them with `declared`. Surrounding blanks are dropped, and an empty value
    is the default. A wrong value raises ImproperlyConfigured.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.declared: dict[str, str] = {}

    def text(self, name: str, default: str = "") -> str:
        self.declared[name] = default
        return self._values.get(name, "").strip() or default

    def boolean(self, name: str, default: str) -> bool:
        value = self.text(name, default)
        try:
            return BOOLEANS[value.lower()]
        except KeyError:
            _refuse(name, value, "true or false (or 1/0, yes/no, on/off)")

    def integer(
        self, name: str, default: str, *, minimum: int = 0, maximum: int = 2**63 - 1
    ) -> int:
        """Decimal digits alone: int() would also take `1_0` and other scripts' digits."""
        value = self.text(name, default)
        if re.fullmatch(r"[0-9]{1,19}", value) and minimum <= int(value) <= maximum:
            return int(value)
        bound = f"of at least {minimum}" if maximum == 2**63 - 1 else f"from {minimum} to {maximum}"
        _refuse(name, value, f"a whole number {bound}")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """One of `choices`, whatever the case it is written in."""
        value = self.text(name, default)
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        _refuse(name, value, "one of " + ", ".join(choices))

    def strings(self, name: str, default: str = "") -> list[str]:
        """A JSON list of strings, or values separated by commas."""
        value = self.text(name, default)
        # An IPv6 host in brackets begins like a JSON list, so only a quote or an end decides.
        if re.match(r"\[\s*(?:\"|\]\s*$)", value):
            return self._json_strings(name, value)
        items = [item.strip() for item in value.split(",")] if value else []
        if not all(re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\[\"][^\"]*", item) for item in items):
            _refuse(name, value, 'a JSON list such as ["a", "b"], or values separated by commas')
        return items

    def hosts(self, name: str, default: str) -> list[str]:
        """Host names for ALLOWED_HOSTS: no scheme, port or path."""
        hosts = self.strings(name, default)
        for host in hosts:
            if not re.fullmatch(r"\*|\.?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host):
                _refuse(name, host, "host names without scheme, port or path")
        return hosts

    def origins(self, name: str, default: str = "", *, wildcard: bool = False) -> list[str]:
        """Origins (`scheme://host[:port]`), `*.` before a host only with `wildcard`."""
        origins = self.strings(name, default)
        for origin in origins:
            if not _is_origin(origin, wildcard=wildcard):
                _refuse(name, origin, "origins such as https://app.example.com, without a path")
        return origins

    def header(self, name: str) -> str:
        """The name of an HTTP header, or an empty string."""
        value = self.text(name)
        if not re.fullmatch(r"[A-Za-z0-9-]*", value):
            _refuse(name, value, "the name of a header, such as X-Forwarded-Proto")
        return value

    def _json_strings(self, name: str, value: str) -> list[str]:
        try:
            items = json.loads(value)
        except ValueError:
            items = None
        if not isinstance(items, list) or not all(isinstance(i, str) and i for i in items):
            _refuse(name, value, 'a JSON list of strings such as ["a", "b"]')
        return items


def _is_origin(origin: str, *, wildcard: bool) -> bool:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    if wildcard:
        host = host.removeprefix("*.")
    shown_port = f":{port}" if port is not None else ""
    shown_host = parts.netloc.removesuffix(shown_port)
    return (
        parts.scheme in {"http", "https"}
        and bool(re.fullmatch(r"[A-Za-z0-9_.-]+|[0-9a-f:.]+", host))
        and shown_host.strip("[]").lower() == (parts.hostname or "")
        and origin == f"{parts.scheme}://{parts.netloc}"
    )


def _refuse(name: str, value: str, takes: str) -> NoReturn:
    raise improper(name, value, takes)


def improper(name: str, value: str, takes: str) -> ImproperlyConfigured:
    """The one-line error for a variable: its name, its value unless secret, what it takes."""
    shown = "this value" if name in SECRET_NAMES else repr(value)
    return ImproperlyConfigured(f"{name} cannot be {shown}: it takes {takes}")
