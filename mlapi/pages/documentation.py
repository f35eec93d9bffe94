"""The OpenAPI document, and the pages that show it, which load local files only."""

import threading

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from mlapi.pages.content_security import HEADER, page_policy

# Redoc creates its styles and its search worker at run time.
REDOC_POLICY = page_policy(style_src="'self' 'unsafe-inline'", worker_src="blob:")
MAX_DOCUMENTS = 16


class SchemaView(SpectacularAPIView):
    """The OpenAPI document as YAML or JSON, by Accept or `?format=`.

    It is generated once for each prefix and format. Anybody may ask for it, it takes half a second
    of computing, and the library cannot generate it in several threads at once.
    """

    content_negotiation_class = DefaultContentNegotiation

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: object, **kwargs: object) -> HttpResponse:
        renderer = request.accepted_renderer
        key = (str(request.META.get("SCRIPT_NAME", "")), renderer.media_type)
        with _generating:
            content = _documents.get(key)
            if content is None:
                document = self.generator_class().get_schema(request=request, public=True)
                content = renderer.render(document, renderer.media_type, {})
                if len(_documents) >= MAX_DOCUMENTS:
                    _documents.clear()
                _documents[key] = content
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        filename = f"{settings.APP_NAME}.{renderer.format}"
        return HttpResponse(
            content,
            content_type=f"{renderer.media_type}{charset}",
            headers={"Content-Disposition": f'inline; filename="{filename}"'},
        )


_generating = threading.Lock()
# By prefix and media type. A proxy has few prefixes, but a header may name any.
_documents: dict[tuple[str, str], bytes] = {}


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI; its settings are a script of their own, which the policy allows."""


class RedocView(SpectacularRedocView):
    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response.headers[HEADER] = REDOC_POLICY
        return response
