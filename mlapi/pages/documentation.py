"""The pages of the API's documentation, which load local files only."""

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from mlapi.pages.content_security import HEADER, page_policy

# Redoc creates its styles and its search worker at run time.
REDOC_POLICY = page_policy(style_src="'self' 'unsafe-inline'", worker_src="blob:")


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI; its settings are a script of their own, which the policy allows."""


class RedocView(SpectacularRedocView):
    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response.headers[HEADER] = REDOC_POLICY
        return response
