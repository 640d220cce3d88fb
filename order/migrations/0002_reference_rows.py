"""Reference rows that the code depends on."""

from __future__ import annotations

from decimal import Decimal

from django.db import migrations

from user.reference_rows import seed


class Migration(migrations.Migration):
    dependencies = [("order", "0001_initial")]

    operations = [
        seed(
            "order",
            "Configuration",
            "key",
            [
                {
                    "key": "shop_name",
                    "value": "",
                    "description": "Shown on every page; if empty, derived from the database name",
                },
                {
                    "key": "currency",
                    "value": "USD",
                    "description": "Currency of the prices on the pages: USD, EUR or GBP",
                },
            ],
        ),
        seed(
            "order",
            "SkuType",
            "identifier",
            [
                {"identifier": "goods", "title": "Goods", "description": "Shipped in a parcel"},
                {"identifier": "download", "title": "Download", "description": "Delivered as a link"},
                {"identifier": "service", "title": "Service", "description": "Performed by people"},
            ],
        ),
        seed(
            "order",
            "ShippingMethod",
            "identifier",
            [
                {
                    "identifier": "standard",
                    "title": "Standard",
                    "description": "3 to 5 business days",
                    "carrier": "USPS",
                    "currency": "USD",
                    "price": Decimal("4.95"),
                    "tracking_url": "https://tools.usps.com/go/TrackConfirmAction?tLabels=",
                },
                {
                    "identifier": "express",
                    "title": "Express",
                    "description": "1 to 2 business days",
                    "carrier": "UPS",
                    "currency": "USD",
                    "price": Decimal("14.50"),
                    "tracking_url": "https://www.ups.com/track?tracknum=",
                },
                {
                    "identifier": "pickup",
                    "title": "Pick-up",
                    "description": "Collected from the shop",
                    "currency": "USD",
                    "price": Decimal("0.00"),
                },
            ],
        ),
        seed(
            "order",
            "DiscountType",
            "identifier",
            [
                {"identifier": "percent-off", "title": "Percentage", "action": "percent"},
                {"identifier": "amount-off", "title": "Amount", "action": "amount"},
                {"identifier": "free-shipping", "title": "Free shipping", "action": "free-shipping"},
            ],
        ),
        seed(
            "order",
            "Status",
            "identifier",
            [
                {"identifier": "placed", "title": "Placed", "description": "The order was received"},
                {"identifier": "paid", "title": "Paid", "description": "The payment was received"},
                {"identifier": "packed", "title": "Packed", "description": "Ready for the carrier"},
                {"identifier": "shipped", "title": "Shipped", "description": "Handed to the carrier"},
                {"identifier": "delivered", "title": "Delivered", "description": "Received by the customer"},
                {"identifier": "cancelled", "title": "Cancelled", "description": "The order will not be shipped"},
                {"identifier": "refunded", "title": "Refunded", "description": "The payment was returned"},
            ],
        ),
    ]
