"""Django's SQLite engine, which replaces a connection that has refused to work."""

from django.db.backends.sqlite3 import base

from mlapi.configuration.refusals import ReplacedWhenRefused


class DatabaseWrapper(ReplacedWhenRefused, base.DatabaseWrapper):
    pass
