"""Errors as pages in the style of the admin, for browsers."""

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string

ADMIN_PATH = "/admin"
# In the order of preference for clients that take anything, such as curl.
MEDIA_TYPES = ["application/problem+json", "text/html"]


def is_page_wanted(request: HttpRequest) -> bool:
    """Whether a browser opens a page of the admin; its scripts ask for JSON."""
    path = request.path_info
    if path != ADMIN_PATH and not path.startswith(f"{ADMIN_PATH}/"):
        return False
    return request.get_preferred_type(MEDIA_TYPES) == "text/html"


def error_page(*, status: int, title: str, detail: str, request_id: str) -> str:
    """The HTML of an error; reads neither session nor database, which may be what failed."""
    context = {
        "site_title": admin.site.site_title,
        "site_header": admin.site.site_header,
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    return render_to_string("admin/problem.html", context)
