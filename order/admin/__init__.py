"""The shopkeeper's side of `order`; importing these modules registers them."""

from __future__ import annotations

from order.admin import carts, catalogue, orders

__all__ = ["carts", "catalogue", "orders"]
