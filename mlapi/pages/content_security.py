"""The Content-Security-Policy of every response.

Django 6.0 has a setting for it; until then, two constant policies need no library. No page runs
inline scripts, and none loads anything from another host.
"""

from collections.abc import Mapping

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from mlapi.middleware import GetResponse

HEADER = "Content-Security-Policy"

# JSON, metrics and static files, should a browser open one of them as a page.
API_POLICY = "default-src 'none'; frame-ancestors 'none'"


def page_policy(**changes: str) -> str:
    """The policy of a page; `changes` replaces directives, with `_` for `-` in their names."""
    directives: Mapping[str, str] = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        # Style sheets have small images inline.
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        **{name.replace("_", "-"): sources for name, sources in changes.items()},
    }
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


PAGE_POLICY = page_policy()


class ContentSecurityPolicyMiddleware:
    """Adds the policy; a view may have set one of its own."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and settings.DEBUG and response.status_code >= 400:
            # Django's debug pages have their styles and scripts inline.
            return response
        response.headers.setdefault(HEADER, PAGE_POLICY if is_page else API_POLICY)
        return response
