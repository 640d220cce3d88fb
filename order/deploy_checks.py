"""What `verify_deploy` asks of the shop itself."""

from __future__ import annotations

from django.db import Error, connection

from deploytools.errors import DatabaseError
from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed
from deploytools.verification.registry import check, fact
from order.models import Product


@fact()
def products_on_offer() -> int:
    """How many products this process's tenant offers."""
    try:
        return Product.objects.filter(is_published=True).count()
    except Error as error:
        raise DatabaseError(
            f"Django could not count the products ({type(error).__name__}).",
            hint="Run it under the production settings, after migrate.",
        ) from error
    finally:
        connection.close()  # This thread's own.


@check(
    "shop.catalogue-not-empty",
    title="The shop has products",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide="Step 9",
    hint="Run: python manage.py load_sample_data, or publish products in the admin",
)
def catalogue_not_empty(products_on_offer: int) -> Verdict:
    """A shop without products takes no orders."""
    return passed(f"{products_on_offer} products") if products_on_offer else failed("no product is published")
