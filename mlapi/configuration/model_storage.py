"""Reads where artifacts are kept: MODEL_STORAGE, and MODEL_PATH, once the only setting."""

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from mlapi.configuration.environment import Environment, invalid_value
from registry.object_storage import urls

DEFAULT_FOLDER = "models/"
# The column for a version's artifact must also have room for the key.
MAX_URL_LENGTH = 200
EXPECTED = (
    f"a folder, or s3://, gs:// or az:// with a bucket and a prefix, of at most {MAX_URL_LENGTH}"
    " plain characters, such as s3://models/production"
)


def read_model_storage(environment: Environment, *, base_dir: Path) -> tuple[Path, str]:
    """The folder of local files, and the URL of the object storage for artifacts, or "".

    The folder holds uploads in progress and the cache, and the artifacts unless there is a URL. It
    may be given by either setting. Raises ImproperlyConfigured.
    """
    storage = environment.text("MODEL_STORAGE")
    folder = environment.text("MODEL_PATH", DEFAULT_FOLDER)
    if "://" in storage:
        return base_dir / folder, _checked_url(storage)
    is_set = folder != DEFAULT_FOLDER
    if storage and is_set and base_dir / storage != base_dir / folder:
        raise ImproperlyConfigured(
            f"MODEL_STORAGE and MODEL_PATH are two folders, {storage} and {folder}: set one of the"
            " two. Both are needed only with object storage, whose cache is in MODEL_PATH"
        )
    return base_dir / (storage or folder), ""


def _checked_url(storage: str) -> str:
    url = storage.rstrip("/")
    if len(url) > MAX_URL_LENGTH or not urls.is_valid(url):
        raise invalid_value("MODEL_STORAGE", storage, EXPECTED)
    if not urls.is_installed():
        raise ImproperlyConfigured(f"MODEL_STORAGE is {url}. {urls.MISSING_PACKAGE}")
    return url
