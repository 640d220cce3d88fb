"""The template filter ``money``."""

from __future__ import annotations

from decimal import Decimal

from django import template

from order.models.money import format_money

register = template.Library()


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """Format an amount: ``{{ price|money:shop.currency }}`` is ``$12.00``."""
    return format_money(amount, currency)
