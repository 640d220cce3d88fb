"""Carts: what people mean to buy, and how far they got."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest

from order.models import Cart, CartDiscount, CartPayment, CartShippingAddress, CartShippingMethod, CartSku
from StartupWebApp.shopkeeping import AddressInline, Inline, ModelAdmin, ReadOnlyInline


class CartSkuInline(Inline):
    """What is in a cart."""

    model = CartSku
    related = ("sku",)


class CartDiscountInline(Inline):
    """The codes that were typed."""

    model = CartDiscount
    related = ("discount_code",)


class CartShippingMethodInline(Inline):
    """How it shall be sent."""

    model = CartShippingMethod
    related = ("shipping_method",)


class CartShippingAddressInline(AddressInline):
    """Where it shall go."""

    model = CartShippingAddress


class CartPaymentInline(ReadOnlyInline):
    """Who will pay; the tokens are Stripe's business."""

    model = CartPayment
    fields = ("email",)


@admin.register(Cart)
class CartAdmin(ModelAdmin):
    """Carts, the newest first."""

    list_display = ("__str__", "owner", "state", "line_count", "item_count", "created_at")
    list_filter = ("state", "created_at")
    search_fields = ("member__user__email", "member__user__last_name", "lines__sku__code")
    autocomplete_fields = ("member",)
    readonly_fields = ("created_at", "updated_at")
    inlines = (
        CartSkuInline,
        CartDiscountInline,
        CartShippingMethodInline,
        CartShippingAddressInline,
        CartPaymentInline,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cart]:
        """Carts with their owner and how much is in them."""
        carts: QuerySet[Cart] = super().get_queryset(request).select_related("member__user")
        return carts.annotate(line_count=Count("lines"), item_count=Sum("lines__quantity", default=0))

    @admin.display(description="owner")
    def owner(self, cart: Cart) -> str:
        """A member's name, or that there is none."""
        return str(cart.member or "A visitor")

    @admin.display(description="lines", ordering="line_count")
    def line_count(self, cart: Any) -> int:
        """How many lines."""
        count: int = cart.line_count
        return count

    @admin.display(description="items", ordering="item_count")
    def item_count(self, cart: Any) -> int:
        """How many things."""
        count: int = cart.item_count
        return count
