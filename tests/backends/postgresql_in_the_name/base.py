"""A backend for SQLite."""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's, in a package with a misleading name."""
