"""One table, and one that comes with the second migration."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    """A row to find again."""

    text = models.TextField()


class Extra(models.Model):
    """What the second migration adds."""

    text = models.TextField()
