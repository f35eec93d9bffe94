"""Where an export or a scored table goes: a folder, or a bucket of an object storage."""

from importlib import import_module

from predictions.export.destinations.base import Destination, DestinationUnusable
from predictions.export.destinations.folder import Folder
from registry.object_storage import urls


def open_destination(address: str) -> Destination:
    """The destination with this path or URL (s3://bucket/prefix); raises DestinationUnavailable."""
    if not urls.is_url(address):
        return Folder(address)
    if not urls.is_installed():
        raise DestinationUnusable(urls.MISSING_PACKAGE)
    # On first use: obstore is optional.
    module = import_module(f"{__name__}.object_storage")
    destination: Destination = module.Bucket(address)
    return destination
