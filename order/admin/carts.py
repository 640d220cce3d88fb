"""The admin of carts."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest

from order.models import Cart, CartDiscount, CartPayment, CartShippingAddress, CartShippingMethod, CartSku
from user.admin_classes import AddressInline, Inline, ModelAdmin, ReadOnlyInline


class CartSkuInline(Inline):
    model = CartSku
    related = ("sku",)


class CartDiscountInline(Inline):
    model = CartDiscount
    related = ("discount_code",)


class CartShippingMethodInline(Inline):
    model = CartShippingMethod
    related = ("shipping_method",)


class CartShippingAddressInline(AddressInline):
    model = CartShippingAddress


class CartPaymentInline(ReadOnlyInline):
    """Shows who pays, without the tokens of Stripe."""

    model = CartPayment
    fields = ("email",)


@admin.register(Cart)
class CartAdmin(ModelAdmin):
    """Carts, newest first."""

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
        """Return carts with their owner and the number of lines and items."""
        carts: QuerySet[Cart] = super().get_queryset(request).select_related("member__user")
        return carts.annotate(line_count=Count("lines"), item_count=Sum("lines__quantity", default=0))

    @admin.display(description="owner")
    def owner(self, cart: Cart) -> str:
        """Return the member's name, or “Visitor”."""
        return str(cart.member or "Visitor")

    @admin.display(description="lines", ordering="line_count")
    def line_count(self, cart: Any) -> int:
        """Return the number of lines."""
        count: int = cart.line_count
        return count

    @admin.display(description="items", ordering="item_count")
    def item_count(self, cart: Any) -> int:
        """Return the number of items."""
        count: int = cart.item_count
        return count
