"""The admin of `order`. Importing the modules registers the model admins."""

from __future__ import annotations

from order.admin import carts, catalog, orders

__all__ = ["carts", "catalog", "orders"]
