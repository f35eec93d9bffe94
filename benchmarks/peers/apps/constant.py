"""Django with one view that returns a constant, on the same server and threads as mlapi."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

BODY = b'{"id":1,"model_id":1,"prediction":0.0,"confidence":0.98,"status":"succeeded"}'

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DEBUG=False,
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="signs nothing",  # noqa: S106
    USE_I18N=False,
)


def constant(request: HttpRequest) -> HttpResponse:
    return HttpResponse(BODY, content_type="application/json")


urlpatterns = [path("", constant)]
application = get_wsgi_application()
