"""Columns of a postal address. Members, carts and orders each have their own copy."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

#: ISO 3166-1 alpha-2, upper case.
COUNTRY = r"^[A-Z]{2}$"


class PostalAddress(models.Model):
    """A postal address. An abstract model instead of a table, because the address of an order must never change."""

    name = models.CharField(max_length=120)
    line1 = models.CharField("address line 1", max_length=200)
    line2 = models.CharField("address line 2", max_length=200, blank=True)
    city = models.CharField(max_length=100)
    region = models.CharField("state or region", max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(
        max_length=2, validators=[RegexValidator(COUNTRY, "Enter a two-letter country code, such as US.")]
    )

    class Meta:
        abstract = True
        constraints = (
            models.CheckConstraint(condition=Q(country__regex=COUNTRY), name="%(app_label)s_%(class)s_country"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(line1="") & ~Q(city=""), name="%(app_label)s_%(class)s_complete"
            ),
        )

    def __str__(self) -> str:
        return ", ".join(part for part in (self.name, self.line1, self.city, self.country) if part)
