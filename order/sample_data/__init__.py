"""Sample data: `load` creates it, `flush` removes it. Only rows with the key of a sample are changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Model, ProtectedError

from order.models import Cart, DiscountCode, Order, OrderPayment, Product, Sku
from order.sample_data.build import Builder
from order.sample_data.catalog import CODES, PRODUCTS
from order.sample_data.customers import CARTS, MEMBERS, ORDERS, PROSPECTS
from user.models import Prospect

#: Key of the advisory lock that serializes concurrent loads.
LOCK = 7_264_310_057


class SampleDataInUse(Exception):
    """Sample rows cannot be removed because other rows refer to them. The message names up to five of those."""


@dataclass(frozen=True)
class Loaded:
    """The result of `load`: number of removed, created (by model) and existing rows."""

    removed: int
    created: Mapping[type[Model], int]
    found: int

    def __str__(self) -> str:
        removed = f"Removed {self.removed} sample rows. " if self.removed else ""
        if not self.created:
            return f"{removed}The sample data already exists ({self.found} rows). No changes."
        kinds = ", ".join(_count(number, model) for model, number in self.created.items())
        return f"{removed}Created {sum(self.created.values())} rows ({self.found} already existed): {kinds}."


def _count(number: int, model: type[Model]) -> str:
    return f"{number} {model._meta.verbose_name if number == 1 else model._meta.verbose_name_plural}"


@transaction.atomic
def load(now: datetime, *, flush_first: bool = False) -> Loaded:
    """Create missing sample data in one transaction.

    Args:
        now: orders are dated some days before it.
        flush_first: remove the sample data first.

    Raises:
        SampleDataInUse: with `flush_first`, if other rows refer to sample rows; nothing is changed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    removed = flush() if flush_first else 0
    builder = Builder(now)
    builder.build()
    return Loaded(removed, dict(builder.created), builder.found)


@transaction.atomic
def flush() -> int:
    """Remove the sample data and the rows that belong to it.

    Returns:
        The number of removed rows.

    Raises:
        SampleDataInUse: an order that is not a sample has a sample SKU. (Lines of carts are removed.)
    """
    orders = Order.objects.filter(identifier__in=[order.identifier for order in ORDERS])
    samples = (
        OrderPayment.objects.filter(order__in=orders),
        orders,
        Cart.objects.filter(anonymous_id__in=[cart.owner for cart in CARTS if not isinstance(cart.owner, str)]),
        User.objects.filter(username__in=[person.email for person in MEMBERS], is_staff=False),
        Prospect.objects.filter(email__in=[person.email for person in PROSPECTS]),
        DiscountCode.objects.filter(code__in=[code.code for code in CODES]),
        Product.objects.filter(identifier__in=[product.identifier for product in PRODUCTS]),
        Sku.objects.filter(code__in=[sku.code for product in PRODUCTS for sku in product.skus]),
    )
    try:
        return sum(rows.delete()[0] for rows in samples)
    except ProtectedError as error:
        names = sorted({f"{row._meta.verbose_name} {row.pk}" for row in error.protected_objects})
        raise SampleDataInUse(", ".join(names[:5])) from error
