"""What `convert_pickle` says about a pickle before it loads it, and the file that it writes."""

import json
import os
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path

from django.core.management.base import CommandError

from registry.conversion.pickles.confinement import Confinement
from registry.conversion.pickles.listing import Import, Listing
from registry.exact_json.values import JSONObject

MAX_SHOWN_KNOWN = 12
_HEADINGS = {
    "dangerous": "DANGEROUS, can run any code",
    "unknown": "unknown to mlapi",
}


def describe_listing(name: str, listing: Listing) -> Iterator[str]:
    """What the pickle is, and what loading it imports and calls, the worst first."""
    compression = f", compressed by {listing.compression}" if listing.compression else ""
    yield f"{name} is a pickle written by {listing.writer}{compression}. It holds:"
    yield f"  {_printable(listing.root)}"
    for library, version in listing.versions.items():
        yield f"  written by {library} {_printable(version)}"
    yield "Loading it imports these names, and calls some of them:"
    for level in ("dangerous", "unknown"):
        for item in listing.of_risk(level):
            yield f"  {_HEADINGS[level]}: {_describe_import(item)}"
    known = [item.name for item in listing.of_risk("known")]
    if known:
        more = len(known) - MAX_SHOWN_KNOWN
        rest = f" and {more:,} more" if more > 0 else ""
        yield f"  usual in models: {', '.join(known[:MAX_SHOWN_KNOWN])}{rest}"


def describe_confinement(
    confinement: Confinement, *, timeout_seconds: float, memory_bytes: int, file_bytes: int
) -> Iterator[str]:
    """How the process that loads the pickle is protected, and from what it is not."""
    protections = {
        "without network": confinement.network,
        "without any files but Python's own and the converted model": confinement.files,
        "without other processes": confinement.processes,
    }
    yield "It is loaded in a process of its own, without mlapi's settings:"
    for effect, names in protections.items():
        if names:
            yield f"  {effect} ({', '.join(names)})"
    yield (
        f"  with at most {memory_bytes // 2**20:,} MiB of memory, {timeout_seconds:g} s and a file"
        f" of {file_bytes // 2**20:,} MiB"
    )
    for gap in confinement.gaps:
        yield f"  NOT PROTECTED: on this system the process can {gap}."


def register_command(path: Path, signature: JSONObject | None) -> str:
    """The command that registers the file, for a shell."""
    words = ["python", "manage.py", "register_model", str(path), "--name", "NAME"]
    if signature:
        words += ["--signature", json.dumps(signature, ensure_ascii=False)]
    return shlex.join(words)


def publish(source: Path, target: Path, *, overwrite: bool) -> None:
    """Copy a finished file to `target`, which appears complete or not at all.

    Raises CommandError if there is a file already and `overwrite` is false.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with source.open("rb") as content, temporary.open("xb") as copy:
            while chunk := content.read(2**20):
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        if overwrite:
            temporary.replace(target)
        else:
            # Unlike a rename, a link never replaces a file.
            os.link(temporary, target)
    except FileExistsError:
        raise CommandError(_exists_message(target)) from None
    finally:
        temporary.unlink(missing_ok=True)


def require_free(target: Path, *, overwrite: bool) -> None:
    """Raise CommandError before the work begins if `publish` would refuse the target."""
    if target.is_dir():
        raise CommandError(f"--output: {target} is a folder. Name a file.")
    if target.exists() and not overwrite:
        raise CommandError(_exists_message(target))


def _exists_message(target: Path) -> str:
    return f"{target} exists already. Choose another file with --output, or replace it: --force."


def _describe_import(item: Import) -> str:
    name = _printable(item.name)
    return f"{name}, called with {item.arguments}" if item.arguments else name


def _printable(text: str) -> str:
    """The text as it is, or escaped if it could control the terminal."""
    return text if text.isprintable() else repr(text)
