"""The shopkeeper's desk: orders and what happens to them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import localtime

from order.models import (
    Order,
    OrderBillingAddress,
    OrderDiscount,
    OrderPayment,
    OrderShippingAddress,
    OrderShippingMethod,
    OrderSku,
    OrderState,
    OrderStatus,
    Status,
)
from order.models.money import format_money
from StartupWebApp.shopkeeping import AddressInline, ClosedSet, Inline, ModelAdmin, ReadOnlyInline


class OrderSkuInline(ReadOnlyInline):
    """What was bought."""

    model = OrderSku
    related = ("sku",)
    fields = ("sku", "title", "quantity", "price_each", "line_total")
    readonly_fields = ("line_total",)


class OrderDiscountInline(ReadOnlyInline):
    """What was taken off."""

    model = OrderDiscount
    related = ("discount_code",)


class OrderPaymentInline(ReadOnlyInline):
    """What was paid."""

    model = OrderPayment
    fields = ("provider_reference", "amount", "state", "created_at")


class OrderStatusInline(Inline):
    """Where the order has been. A status is added, and then it stands."""

    model = OrderStatus
    related = ("status",)
    extra = 1

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History is not rewritten."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nor shortened."""
        return False


class OrderShippingMethodInline(Inline):
    """How it is sent; the tracking number is filled in here."""

    model = OrderShippingMethod
    related = ("shipping_method",)
    readonly_fields = ("shipping_method", "cost")
    can_delete = False


class OrderShippingAddressInline(AddressInline):
    """Where it goes."""

    model = OrderShippingAddress


class OrderBillingAddressInline(AddressInline):
    """Where the bill goes."""

    model = OrderBillingAddress


class StatusFilter(admin.SimpleListFilter):
    """Orders by where they are now, not by where they have been."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every state."""
        return [(value, str(label)) for value, label in OrderState.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The orders in the chosen state."""
        return queryset.filter(status_identifier=self.value()) if self.value() else queryset


@admin.register(Order)
class OrderAdmin(ModelAdmin):
    """Orders, the newest first. Amounts and lines stand as they were agreed; statuses are added."""

    list_display = ("identifier", "customer", "current_status", "amount", "placed")
    list_filter = (StatusFilter, "placed_at", "currency")
    date_hierarchy = "placed_at"
    search_fields = ("identifier", "email", "member__user__first_name", "member__user__last_name", "lines__sku__code")
    readonly_fields = (
        "identifier",
        "member",
        "prospect",
        "currency",
        "subtotal",
        "discount",
        "shipping",
        "tax",
        "total",
        "placed_at",
    )
    fieldsets = (
        (None, {"fields": (("identifier", "placed_at"), ("member", "prospect"), "email")}),
        ("Amounts", {"fields": (("subtotal", "discount"), ("shipping", "tax"), ("total", "currency"))}),
    )
    inlines = (
        OrderSkuInline,
        OrderStatusInline,
        OrderShippingMethodInline,
        OrderDiscountInline,
        OrderPaymentInline,
        OrderShippingAddressInline,
        OrderBillingAddressInline,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Orders with their customer and their newest status."""
        return Order.objects.with_status().select_related("member__user", "prospect")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Orders come from the checkout."""
        return False

    @admin.display(description="customer", ordering="email")
    def customer(self, order: Order) -> str:
        """Who, in words; the address where there is nobody left."""
        return str(order.member or order.email)

    @admin.display(description="status", ordering="status_title")
    def current_status(self, order: Order) -> str | None:
        """Where the order is."""
        return order.status_title

    @admin.display(description="placed", ordering="placed_at")
    def placed(self, order: Order) -> str:
        """The day, which is short enough for the list to fit."""
        return f"{localtime(order.placed_at):%Y-%m-%d}"

    @admin.display(description="total", ordering="total")
    def amount(self, order: Order) -> str:
        """What was to be paid."""
        return format_money(order.total, order.currency)


@admin.register(Status)
class StatusAdmin(ClosedSet):
    """What an order's states are called."""
