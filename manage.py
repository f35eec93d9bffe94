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
        # Load the settings now: an invalid variable is reported in one line, without a traceback.
        _ = settings.DEBUG
    except ImproperlyConfigured as error:
        sys.exit(f"mlapi: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
