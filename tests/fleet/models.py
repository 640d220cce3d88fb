"""Two tables; the second migration creates the second one."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    """A table of the first migration."""

    text = models.TextField()


class Extra(models.Model):
    """The table that the second migration adds."""

    text = models.TextField()
