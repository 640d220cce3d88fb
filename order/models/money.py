"""Money: one type everywhere, an exact decimal with two places, beside a currency from a closed list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Q

ZERO = Decimal("0.00")


class Currency(models.TextChoices):
    """ISO 4217 codes of what the shop sells in; all have two decimal places."""

    USD = "USD", "US dollar"
    EUR = "EUR", "Euro"
    GBP = "GBP", "Pound sterling"


SYMBOLS = {Currency.USD: "$", Currency.EUR: "€", Currency.GBP: "£"}


# The fields are made by functions because every option but the name is the same; migrations see plain Django fields.
def money_field(verbose_name: str | None = None, **options: Any) -> models.DecimalField[Decimal, Decimal]:
    """An amount of up to 99,999,999.99."""
    return models.DecimalField(verbose_name, max_digits=10, decimal_places=2, **options)


def currency_field() -> models.CharField[str, str]:
    """The currency of the amounts in the same row."""
    return models.CharField(max_length=3, choices=Currency, default=Currency.USD)


def currency_constraint(name: str) -> models.CheckConstraint:
    """The database's half of `currency_field`."""
    return models.CheckConstraint(condition=Q(currency__in=Currency.values), name=name)


def format_money(amount: Decimal, currency: str) -> str:
    """The amount as people read it: ``$1,234.50``."""
    return f"{SYMBOLS[Currency(currency)]}{amount:,.2f}"
