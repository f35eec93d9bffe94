"""Strict readers of environment variables: an invalid value stops the start with one line."""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.names import names_in, respelt_names, unknown_names

BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MAX_INTEGER = 2**63 - 1
MAX_URL_PREFIX_LENGTH = 200
LOCATION_PATTERN = r"/[^/].*|(s3|gs|az)://[^/?#%@:\\]+(/[^/?#%\\]+)*/?"
URL_PREFIX_FORM = (
    f"a path of at most {MAX_URL_PREFIX_LENGTH} letters, digits, and the characters /._~-"
)

# Their values never appear in a message: errors at start end up in logs and tickets.
SECRET_NAMES = frozenset(
    {"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN", "MASKING_KEY", "EMAIL_HOST_PASSWORD"}
)


def load_environment(env_file: Path) -> "Environment":
    """The environment of the process, with the variables of `env_file` that it does not set."""
    # Logging is not configured yet, and the library would log a missing file.
    logging.getLogger("environ").setLevel(logging.WARNING)
    if not env_file.is_file():
        return Environment(os.environ)
    process_names = list(os.environ)
    environ.Env.read_env(env_file, overwrite=False)
    return Environment(os.environ, names_in(env_file), process_names)


class Environment:
    """Reads variables by kind; an invalid value raises ImproperlyConfigured.

    Defaults are text and are parsed as values are: `.env.example` shows them, and a test compares
    it with `declared`. Surrounding whitespace is ignored; an empty value means the default.
    """

    def __init__(
        self,
        values: Mapping[str, str],
        file_names: Sequence[str] = (),
        process_names: Sequence[str] | None = None,
    ) -> None:
        """`file_names` are the variables of `.env`; by default, all are the process's own."""
        self._values = values
        self._file_names = file_names
        self._process_names = list(values) if process_names is None else process_names
        self.declared: dict[str, str] = {}

    def check_names(self) -> list[str]:
        """Descriptions of variables that have no effect. Call it once all settings are declared.

        Raises ImproperlyConfigured for a variable of `.env` that is probably a misspelt setting:
        that file is this service's own, and a setting such as SSL_REDIRCT must not be ignored.
        """
        unknown = unknown_names(self._file_names, self.declared)
        misspelt = [
            f"{name} in .env is not a setting; did you mean {meant}?"
            for name, meant in unknown.items()
            if meant
        ]
        if misspelt:
            raise ImproperlyConfigured(" ".join(misspelt))
        respelt = respelt_names(self._process_names, self.declared)
        return [f"{name} in .env is not a setting and has no effect." for name in unknown] + [
            f"{name} in the environment is not a setting and has no effect; did you mean {meant}?"
            for name, meant in respelt.items()
        ]

    def text(self, name: str, default: str = "") -> str:
        self.declared[name] = default
        return self._values.get(name, "").strip() or default

    def boolean(self, name: str, default: str) -> bool:
        value = self.text(name, default)
        try:
            return BOOLEANS[value.lower()]
        except KeyError:
            expected = "true or false (or 1/0, yes/no, on/off)"
            raise invalid_value(name, value, expected) from None

    def integer(
        self, name: str, default: str, *, minimum: int = 0, maximum: int = MAX_INTEGER
    ) -> int:
        """ASCII digits only: int() would also accept `1_0` and the digits of other scripts."""
        value = self.text(name, default)
        if re.fullmatch(r"[0-9]{1,19}", value) and minimum <= int(value) <= maximum:
            return int(value)
        bounds = (
            f"of at least {minimum}" if maximum == MAX_INTEGER else f"from {minimum} to {maximum}"
        )
        raise invalid_value(name, value, f"a whole number {bounds}")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """One of `choices`, ignoring case."""
        value = self.text(name, default)
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise invalid_value(name, value, "one of " + ", ".join(choices))

    def strings(self, name: str, default: str = "") -> list[str]:
        """A JSON list of strings, or comma-separated values."""
        value = self.text(name, default)
        # An IPv6 host in brackets also begins with "[": only a quote or an empty list means JSON.
        if re.match(r"\[\s*(?:\"|\]\s*$)", value):
            return _parse_json_strings(name, value)
        items = [item.strip() for item in value.split(",")] if value else []
        if not all(re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\[\"][^\"]*", item) for item in items):
            expected = 'a JSON list such as ["a", "b"], or comma-separated values'
            raise invalid_value(name, value, expected)
        return items

    def pairs(self, name: str, values: tuple[str, ...]) -> dict[str, str]:
        """Names with one of `values` each, such as `email:hash,phone:omit`."""
        pairs = {}
        for text in self.strings(name):
            key, _, value = text.rpartition(":")
            if not key or value not in values:
                expected = f"a list such as name:{values[0]}; allowed are {', '.join(values)}"
                raise invalid_value(name, text, expected)
            pairs[key] = value
        return pairs

    def subset(self, name: str, default: str, choices: tuple[str, ...]) -> frozenset[str]:
        """Some of `choices`, as `strings` reads them; `[]` for none."""
        values = self.strings(name, default)
        if not set(values) <= set(choices):
            raise invalid_value(name, self.text(name, default), "a list of " + ", ".join(choices))
        return frozenset(values)

    def hosts(self, name: str, default: str) -> list[str]:
        """Host names for ALLOWED_HOSTS, without scheme, port and path."""
        hosts = self.strings(name, default)
        for host in hosts:
            if not re.fullmatch(r"\*|\.?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host):
                expected = "a list of host names without scheme, port or path"
                raise invalid_value(name, host, expected)
        return hosts

    def origins(self, name: str, default: str = "", *, wildcard: bool = False) -> list[str]:
        """Origins (`scheme://host[:port]`); `wildcard` allows `*.` before the host."""
        origins = self.strings(name, default)
        for origin in origins:
            if not _is_origin(origin, wildcard=wildcard):
                expected = "a list of origins such as https://app.example.com, without a path"
                raise invalid_value(name, origin, expected)
        return origins

    def locations(self, name: str) -> list[str]:
        """Absolute paths of folders other than `/`, and URLs of buckets and prefixes in them."""
        locations = self.strings(name)
        for location in locations:
            is_plain = {".", ".."}.isdisjoint(location.split("/"))
            if not is_plain or not re.fullmatch(LOCATION_PATTERN, location):
                expected = "a list of absolute paths, and URLs such as s3://bucket/folder"
                raise invalid_value(name, location, expected)
        return locations

    def header(self, name: str) -> str:
        """The name of an HTTP header, or an empty string."""
        value = self.text(name)
        if not re.fullmatch(r"[A-Za-z0-9-]*", value):
            expected = "the name of an HTTP header, such as X-Forwarded-Proto"
            raise invalid_value(name, value, expected)
        return value

    def url_prefix(self, name: str) -> str:
        """The path below which the service is seen, such as `/ml`, or an empty string."""
        value = self.text(name)
        prefix = parse_url_prefix(value)
        if prefix is None:
            raise invalid_value(name, value, f"{URL_PREFIX_FORM}, such as /ml")
        return prefix


def parse_url_prefix(text: str) -> str | None:
    """The prefix without a slash at the end, or None if it is not a plain path.

    Links are made of it: `//host` would lead to another host.
    """
    path = text.strip()
    if len(path) > MAX_URL_PREFIX_LENGTH or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*/?", path):
        return None
    return None if {".", ".."} & set(path.split("/")) else path.rstrip("/")


def meta_name(header: str) -> str:
    """The name of an HTTP header in a WSGI environment."""
    return "HTTP_" + header.upper().replace("-", "_")


def invalid_value(name: str, value: str, expected: str) -> ImproperlyConfigured:
    """The one-line error for a variable; it does not show the value of a secret."""
    found = "" if name in SECRET_NAMES else f", not {value!r}"
    return ImproperlyConfigured(f"{name} must be {expected}{found}")


def _parse_json_strings(name: str, value: str) -> list[str]:
    try:
        items = json.loads(value)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(i, str) and i for i in items):
        raise invalid_value(name, value, 'a JSON list of strings such as ["a", "b"]')
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
    port_suffix = f":{port}" if port is not None else ""
    written_host = parts.netloc.removesuffix(port_suffix)
    return (
        parts.scheme in {"http", "https"}
        and bool(re.fullmatch(r"[A-Za-z0-9_.-]+|[0-9a-f:.]+", host))
        and written_host.strip("[]").lower() == (parts.hostname or "")
        and origin == f"{parts.scheme}://{parts.netloc}"
    )
