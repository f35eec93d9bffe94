"""The URLs of places in object storage, such as s3://bucket/prefix. No Django here."""

import re
from importlib.util import find_spec

SCHEMES = ("s3://", "gs://", "az://")
FORM = re.compile(r"(?:s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9._=+-]+)*/?")
MISSING_PACKAGE = "Object storage needs obstore: pip install 'mlapi[object-storage]'"


def is_url(address: str) -> bool:
    """Whether the address is meant as a URL of object storage, not as a folder."""
    return address.startswith(SCHEMES)


def is_valid(url: str) -> bool:
    """Whether the URL names a bucket, and a prefix of plain characters or none."""
    segments = url.partition("://")[2].split("/")
    return bool(FORM.fullmatch(url)) and {".", ".."}.isdisjoint(segments)


def is_plain(url: str) -> bool:
    """Whether the URL has nothing but a bucket and a prefix: other parts may be secrets, and URLs
    are written into logs, rows and manifests.
    """
    return not any(mark in url for mark in "@?#")


def is_installed() -> bool:
    """Whether the optional package is installed, without importing it."""
    return find_spec("obstore") is not None
