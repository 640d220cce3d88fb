"""Amounts of money: a decimal with two places and a currency."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Q

ZERO = Decimal("0.00")


class Currency(models.TextChoices):
    """ISO 4217 codes of the supported currencies. All have two decimal places."""

    USD = "USD", "US dollar"
    EUR = "EUR", "Euro"
    GBP = "GBP", "Pound sterling"


SYMBOLS = {Currency.USD: "$", Currency.EUR: "€", Currency.GBP: "£"}


# Functions instead of field classes, so that migrations contain plain Django fields.
def money_field(verbose_name: str | None = None, **options: Any) -> models.DecimalField[Decimal, Decimal]:
    """Return a field for amounts up to 99,999,999.99."""
    return models.DecimalField(verbose_name, max_digits=10, decimal_places=2, **options)


def currency_field() -> models.CharField[str, str]:
    """Return a field for the currency of the amounts in the row."""
    return models.CharField(max_length=3, choices=Currency, default=Currency.USD)


def currency_constraint(name: str) -> models.CheckConstraint:
    """Return a constraint that allows the supported currencies only."""
    return models.CheckConstraint(condition=Q(currency__in=Currency.values), name=name)


def format_money(amount: Decimal, currency: str) -> str:
    """Return the amount with its symbol, for example ``$1,234.50``."""
    return f"{SYMBOLS[Currency(currency)]}{amount:,.2f}"
