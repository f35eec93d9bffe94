"""Whether the models of versions are available: in memory, in the cache, or in the storage.

Object storage is asked at most every few seconds, and the answer counts for all callers.
"""

import logging
import time
from collections.abc import Sequence

from registry.artifacts.errors import StorageUnavailable
from registry.loading import loader
from registry.models import ModelVersion
from registry.storage import files

logger = logging.getLogger(__name__)

# An object that is there stays; one that is not may be put there at any time.
FOUND_SECONDS = 60.0
MISSING_SECONDS = 5.0
USABLE_SECONDS = 15.0
UNUSABLE_SECONDS = 5.0

# What was found, and until when that counts: by artifact, whether it is there; by the URL of a
# bucket, why it cannot be used, or "".
_found: dict[str, tuple[bool, float]] = {}
_problems: dict[str, tuple[str, float]] = {}


def is_at_hand(version: ModelVersion) -> bool:
    """Whether the version's model is available now, as far as the size of its file tells."""
    try:
        return _is_at_hand(version)
    except (OSError, ValueError):
        return False


def unavailable_versions(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Those of the versions whose model is in none of memory, cache and storage.

    Memory counts only for artifacts in object storage: a folder that lacks its files is the wrong
    one.
    """
    return [version for version in versions if not is_at_hand(version)]


def storage_problem(url: str) -> str:
    """Why the bucket cannot be used, or "". Logs when that changes."""
    before, until = _problems.get(url, ("", 0.0))
    if time.monotonic() < until:
        return before
    problem = ""
    try:
        files.store_at(url).check()
    except StorageUnavailable as error:
        problem = str(error.__cause__ or error)
    _note_problem(url, problem)
    if problem and not before:
        logger.warning(
            "%s. Models are loaded from the cache, and none can be registered, until it can be used"
            " again",
            problem,
        )
    elif before and not problem:
        logger.info("%s can be used again", url)
    return problem


def _is_at_hand(version: ModelVersion) -> bool:
    bucket = files.bucket_of(version)
    if bucket is None:
        return files.size(version) == version.size_bytes
    if any(model.version.pk == version.pk for model in loader.cache.models()):
        return True
    if files.is_cached(version):
        return True
    if storage_problem(str(bucket)):
        return False
    is_there, until = _found.get(version.artifact, (False, 0.0))
    if time.monotonic() >= until:
        is_there = files.size(version) == version.size_bytes
        _note_found(version.artifact, is_there)
    return is_there


def _note_found(artifact: str, is_there: bool) -> None:
    now = time.monotonic()
    for known, (_, until) in list(_found.items()):
        if until < now:
            _found.pop(known, None)
    _found[artifact] = is_there, now + (FOUND_SECONDS if is_there else MISSING_SECONDS)


def _note_problem(url: str, problem: str) -> None:
    seconds = UNUSABLE_SECONDS if problem else USABLE_SECONDS
    _problems[url] = problem, time.monotonic() + seconds
