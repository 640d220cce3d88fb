"""A postal address, as columns: default addresses, carts and orders each keep a copy of their own."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

#: ISO 3166-1 alpha-2, upper case.
COUNTRY = r"^[A-Z]{2}$"


class PostalAddress(models.Model):
    """Who and where. An order's must not change when its member moves, hence copies rather than one table."""

    name = models.CharField(max_length=120)
    line1 = models.CharField("address line 1", max_length=200)
    line2 = models.CharField("address line 2", max_length=200, blank=True)
    city = models.CharField(max_length=100)
    region = models.CharField("state or region", max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, validators=[RegexValidator(COUNTRY, "Two capital letters, such as US.")])

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
