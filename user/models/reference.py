"""Abstract models of rows that migrations create: reference rows and configuration rows of all apps."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower


class ReferenceRow(models.Model):
    """A type or status. Code refers to it by `identifier`; pages and the admin show `title`."""

    identifier = models.SlugField(max_length=40, unique=True)
    title = models.CharField(max_length=80)
    description = models.CharField(max_length=255, blank=True)

    class Meta:
        abstract = True
        constraints: ClassVar[tuple[models.BaseConstraint, ...]] = (
            models.CheckConstraint(
                condition=models.Q(identifier__regex=r"^[a-z0-9][a-z0-9-]*$"),
                name="%(app_label)s_%(class)s_identifier",
                violation_error_message="The identifier can contain lowercase letters, digits and hyphens only.",
            ),
        )

    def __str__(self) -> str:
        return self.title


class ConfigurationRow(models.Model):
    """A setting that can be changed in the admin, without a release."""

    key = models.CharField(max_length=60)
    value = models.CharField(max_length=255, blank=True)
    description = models.CharField(max_length=255, blank=True)

    class Meta:
        abstract = True
        ordering = ("key",)
        verbose_name = "configuration"
        verbose_name_plural = "configuration"
        constraints = (
            models.UniqueConstraint(Lower("key"), name="%(app_label)s_configuration_key_unique"),
            models.CheckConstraint(condition=~models.Q(key=""), name="%(app_label)s_configuration_has_key"),
        )

    def __str__(self) -> str:
        return f"{self.key} = {self.value}"
