"""The rows that the code knows by name, so that a tenant is usable right after `migrate`."""

from __future__ import annotations

from decimal import Decimal

from django.db import migrations

from StartupWebApp.reference import seed


class Migration(migrations.Migration):
    dependencies = [("order", "0001_initial")]

    operations = [
        seed(
            "order",
            "Configuration",
            "key",
            [
                {"key": "shop_name", "value": "", "description": "On every page; empty: made from the database's name"},
                {"key": "currency", "value": "USD", "description": "What the pages show prices in: USD, EUR or GBP"},
            ],
        ),
        seed(
            "order",
            "SkuType",
            "identifier",
            [
                {"identifier": "goods", "title": "Goods", "description": "Sent in a parcel"},
                {"identifier": "download", "title": "Download", "description": "Sent as a link"},
                {"identifier": "service", "title": "Service", "description": "Done by people"},
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
                    "description": "Three to five working days",
                    "carrier": "USPS",
                    "currency": "USD",
                    "price": Decimal("4.95"),
                    "tracking_url": "https://tools.usps.com/go/TrackConfirmAction?tLabels=",
                },
                {
                    "identifier": "express",
                    "title": "Express",
                    "description": "One to two working days",
                    "carrier": "UPS",
                    "currency": "USD",
                    "price": Decimal("14.50"),
                    "tracking_url": "https://www.ups.com/track?tracknum=",
                },
                {
                    "identifier": "pickup",
                    "title": "Pick-up",
                    "description": "Fetched from the shop",
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
                {"identifier": "placed", "title": "Placed", "description": "We have the order"},
                {"identifier": "paid", "title": "Paid", "description": "We have the money"},
                {"identifier": "packed", "title": "Packed", "description": "It waits for the carrier"},
                {"identifier": "shipped", "title": "Shipped", "description": "The carrier has it"},
                {"identifier": "delivered", "title": "Delivered", "description": "The customer has it"},
                {"identifier": "cancelled", "title": "Cancelled", "description": "It will not be sent"},
                {"identifier": "refunded", "title": "Refunded", "description": "The customer has the money back"},
            ],
        ),
    ]
