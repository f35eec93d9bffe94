#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")
    try:
        # Read now: a wrong variable is told in one line, not in the traceback of some command.
        _ = settings.DEBUG
    except ImproperlyConfigured as error:
        sys.exit(f"mlapi: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
