"""The WSGI application, as `manage.py serve` runs it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

application = get_wsgi_application()
