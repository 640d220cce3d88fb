"""Checks of a deployment. A host project adds its own in the module ``deploy_checks`` of an installed app::

    from deploytools.verification import Severity, Stage, Verdict, check, fact, failed, passed

    @fact()
    def product_count() -> int:
        return Product.objects.count()

    @check(
        "shop.has-products",
        title="Shop has products",
        severity=Severity.MEDIUM,
        stage=Stage.LAUNCH,
        hint="Add a product in the admin site",
    )
    def has_products(product_count: int) -> Verdict:
        "Customers cannot order anything in a shop without products."
        return passed(f"products: {product_count}") if product_count else failed("there is no product")

The parameters of a check, and those of a fact, are the names of facts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploytools.verification.findings import (
        Severity,
        Stage,
        Verdict,
        failed,
        not_applicable,
        passed,
        unknown,
        warned,
    )
    from deploytools.verification.registry import check, fact

__all__ = [
    "Severity",
    "Stage",
    "Verdict",
    "check",
    "fact",
    "failed",
    "not_applicable",
    "passed",
    "unknown",
    "warned",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "registry" if name in {"check", "fact"} else "findings"
    return getattr(import_module(f"{__name__}.{module}"), name)
