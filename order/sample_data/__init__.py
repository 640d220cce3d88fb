"""Sample data: a believable shop, to look at and to try things on. `load` makes it, `flush` takes it away.

Only rows with a sample's key are ever touched. The data is in `catalogue` and `customers`, the making in `build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import ProtectedError

from order.models import Cart, DiscountCode, Order, OrderPayment, Product, Sku
from order.sample_data.build import Builder
from order.sample_data.catalogue import CODES, PRODUCTS
from order.sample_data.customers import CARTS, MEMBERS, ORDERS, PROSPECTS
from user.models import Prospect

#: Of the advisory lock that two loads at once wait on; any number that nothing else uses.
LOCK = 7_264_310_057


class SampleDataInUse(Exception):
    """Rows that are not samples refer to samples, which therefore cannot go. The message names some."""


@dataclass(frozen=True)
class Loaded:
    """What `load` did: rows taken away, rows made (by kind), rows that were there."""

    removed: int
    created: Mapping[str, int]
    found: int

    def __str__(self) -> str:
        removed = f"Removed {self.removed} sample rows. " if self.removed else ""
        if not self.created:
            return f"{removed}The sample data was there already ({self.found} rows): nothing to do."
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.created.items())
        return f"{removed}Created {sum(self.created.values())} rows ({self.found} were there): {kinds}."


@transaction.atomic
def load(now: datetime, *, flush_first: bool = False) -> Loaded:
    """Makes the sample data that is missing, in one transaction.

    Args:
        now: orders are placed some days before it.
        flush_first: take the sample data away first.

    Raises:
        SampleDataInUse: with `flush_first`, where something real depends on a sample; nothing has changed then.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    removed = flush() if flush_first else 0
    builder = Builder(now)
    builder.build()
    return Loaded(removed, dict(builder.created), builder.found)


@transaction.atomic
def flush() -> int:
    """Takes the sample data away, and what hangs on it.

    Returns:
        How many rows went.

    Raises:
        SampleDataInUse: an order that is no sample has a sample in it. (A cart just loses the line.)
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
