"""The models of `order` (28 tables)."""

from __future__ import annotations

from order.models.cart import (
    Cart,
    CartDiscount,
    CartPayment,
    CartShippingAddress,
    CartShippingMethod,
    CartSku,
    CartState,
)
from order.models.catalog import Product, ProductImage, ProductSku, ProductVideo
from order.models.configuration import Configuration
from order.models.money import Currency
from order.models.purchase import (
    Order,
    OrderBillingAddress,
    OrderDiscount,
    OrderPayment,
    OrderShippingAddress,
    OrderShippingMethod,
    OrderSku,
    OrderState,
    OrderStatus,
    PaymentState,
    Status,
)
from order.models.stock import Sku, SkuImage, SkuInventory, SkuPrice, SkuType
from order.models.terms import DiscountAction, DiscountCode, DiscountType, ShippingMethod

__all__ = [
    "Cart",
    "CartDiscount",
    "CartPayment",
    "CartShippingAddress",
    "CartShippingMethod",
    "CartSku",
    "CartState",
    "Configuration",
    "Currency",
    "DiscountAction",
    "DiscountCode",
    "DiscountType",
    "Order",
    "OrderBillingAddress",
    "OrderDiscount",
    "OrderPayment",
    "OrderShippingAddress",
    "OrderShippingMethod",
    "OrderSku",
    "OrderState",
    "OrderStatus",
    "PaymentState",
    "Product",
    "ProductImage",
    "ProductSku",
    "ProductVideo",
    "ShippingMethod",
    "Sku",
    "SkuImage",
    "SkuInventory",
    "SkuPrice",
    "SkuType",
    "Status",
]
