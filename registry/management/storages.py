"""Storages of artifacts as arguments of commands."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

from registry.artifacts.errors import StorageUnavailable
from registry.object_storage import urls
from registry.storage import files
from registry.storage.stores.base import Store


def store_of(address: str) -> Store:
    """The store with that URL, or the folder MODEL_PATH; raises CommandError.

    Rows say where in MODEL_PATH a file is, so that no other folder can be meant.
    """
    url = address.rstrip("/")
    if not urls.is_url(address):
        if Path(address).resolve() != Path(settings.MODEL_PATH).resolve():
            raise CommandError(
                f"{address} is neither MODEL_PATH, which is {settings.MODEL_PATH}, nor a URL of"
                " object storage: s3://, gs:// or az://"
            )
        url = ""
    elif not urls.is_valid(url):
        raise CommandError(f"{address} must be a bucket and a prefix, as s3://models/production")
    try:
        return files.store_at(url)
    except StorageUnavailable as error:
        raise CommandError(reason(error)) from error


def current_address() -> str:
    """Where new artifacts are kept."""
    return settings.MODEL_STORAGE or str(settings.MODEL_PATH)


def reason(error: Exception) -> str:
    """Why a storage cannot be used, for an operator."""
    return str(error.__cause__ or error)
