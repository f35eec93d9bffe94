"""The response to OPTIONS."""

from typing import TYPE_CHECKING

from rest_framework.metadata import SimpleMetadata
from rest_framework.request import Request

if TYPE_CHECKING:
    # DRF's views import this module.
    from rest_framework.views import APIView


class Metadata(SimpleMetadata):
    """Name, description and media types of a view; its fields are in the OpenAPI document.

    DRF's own would look up the object in the path, which not every view can do that way.
    """

    def determine_actions(self, request: Request, view: "APIView") -> dict[str, object]:
        return {}
