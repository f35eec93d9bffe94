"""Where an export goes: a folder, or a bucket of an object storage."""

from importlib import import_module

from predictions.export.destinations.base import Destination, DestinationUnavailable
from predictions.export.destinations.folder import Folder

SCHEMES = ("s3://", "gs://", "az://")


def open_destination(address: str) -> Destination:
    """The destination with this path or URL (s3://bucket/prefix); raises DestinationUnavailable."""
    if not address.startswith(SCHEMES):
        return Folder(address)
    try:
        # On first use: obstore is optional.
        module = import_module(f"{__name__}.object_storage")
    except ModuleNotFoundError as error:
        message = f"Object storage needs {error.name}: pip install 'mlapi[object-storage]'"
        raise DestinationUnavailable(message) from error
    destination: Destination = module.Bucket(address)
    return destination
