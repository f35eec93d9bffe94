"""The format of errors.

They are problem details (RFC 9457), except below /v1 and /v2, which have the format of KServe's
protocols, and in a browser below /admin, where they are pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from django.http import HttpRequest, HttpResponse

from mlapi.error_messages import truncate
from mlapi.pages.errors import error_page, is_page_wanted
from registry.signatures.validation import join_messages

MEDIA_TYPE = "application/problem+json"
PROTOCOL_PATHS = ("/v1", "/v2")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error response. `errors` holds messages by field path, such as `rows[0].age`."""

    status: int
    detail: str
    type: str = "about:blank"
    title: str = ""
    errors: Mapping[str, list[str]] = field(default_factory=dict)
    extensions: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, request: HttpRequest) -> HttpResponse:
        if has_protocol_errors(request.path_info):
            return self._protocol_response()
        if is_page_wanted(request):
            return self._page_response(request)
        body: dict[str, object] = {
            "type": self.type,
            "title": self.title or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": getattr(request, "request_id", ""),
            **self.extensions,
        }
        if self.errors:
            body["errors"] = self.errors
        return HttpResponse(
            orjson.dumps(body),
            status=self.status,
            content_type=MEDIA_TYPE,
            headers=dict(self.headers),
        )

    def _page_response(self, request: HttpRequest) -> HttpResponse:
        title = self.title or HTTPStatus(self.status).phrase
        page = error_page(request, status=self.status, title=title, detail=self.detail)
        return HttpResponse(page, status=self.status, headers=dict(self.headers))

    def _protocol_response(self) -> HttpResponse:
        # This format has one text for the detail and all messages.
        remaining = (
            f"{path}: {message}"
            for path, messages in self.errors.items()
            for message in messages
            # The detail may have the message without its full stop: see `join_messages`.
            if message.removesuffix(".") not in self.detail
        )
        return HttpResponse(
            orjson.dumps({"error": truncate(join_messages([self.detail, *remaining]))}),
            status=self.status,
            content_type="application/json",
            headers=dict(self.headers),
        )


def has_protocol_errors(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in PROTOCOL_PATHS)
