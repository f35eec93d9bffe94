"""Finds variables that look like settings but are none: a misspelt setting has no effect."""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

# How alike two names must be, without case and underscores: one or two letters of a word differ.
MIN_SIMILARITY = 0.85

# What others read from the environment that `.env` becomes part of: tokens of remote models, keys
# of object storage, libpq, the ML libraries, Python, and tools around the service.
FOREIGN_NAMES = re.compile(
    r"(?:MLAPI_REMOTE_|PG|OMP_|ORT_|MKL_|OPENBLAS_|NUMEXPR_|PROMETHEUS_|PYTHON|DJANGO_|GRANIAN_"
    r"|AWS_|GOOGLE_|AZURE_|COMPOSE_|DOCKER_|POSTGRES_|CUDA_|NVIDIA_|MALLOC_|LC_|OTEL_).*"
    r"|(?:HTTPS?|ALL|NO)_PROXY|TZ|LANG|PATH|HOME|TMPDIR|SSL_CERT_(?:FILE|DIR)|LD_PRELOAD"
)


def names_in(env_file: Path) -> list[str]:
    """The variables that a `.env` file sets."""
    return re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", env_file.read_text(), re.MULTILINE)


def unknown_names(names: Iterable[str], known: Collection[str]) -> dict[str, str | None]:
    """The names that are no settings, each with the setting that is probably meant, or None."""
    by_plain_name = {_plain(name): name for name in known}
    unknown: dict[str, str | None] = {}
    for name in names:
        if name in known or FOREIGN_NAMES.fullmatch(name.upper()):
            continue
        matches = get_close_matches(_plain(name), by_plain_name, 1, MIN_SIMILARITY)
        unknown[name] = by_plain_name[matches[0]] if matches else None
    return unknown


def respelt_names(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The names that differ from a setting in case and underscores alone, with that setting.

    The environment of the process belongs to many programs: a merely similar name may be theirs.
    """
    by_plain_name = {_plain(name): name for name in known}
    return {
        name: by_plain_name[plain]
        for name in names
        if name not in known and (plain := _plain(name)) in by_plain_name
    }


def _plain(name: str) -> str:
    return name.upper().replace("_", "")
