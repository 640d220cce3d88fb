"""The shopkeeper's side of `order`; importing these modules registers them."""

from __future__ import annotations

from order.admin import catalogue, orders

__all__ = ["catalogue", "orders"]
