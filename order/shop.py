"""Name, tenant, release and currency of the shop that this process serves. Templates have it as ``shop``."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from order.models import Configuration, Currency


@dataclass(frozen=True)
class Shop:
    """The shop as shown on its pages."""

    name: str
    tenant: str
    release: str
    currency: str


def current_shop() -> Shop:
    """Read the shop's configuration with one query."""
    rows = dict(Configuration.objects.filter(key__in=["shop_name", "currency"]).values_list("key", "value"))
    tenant = str(connection.settings_dict["NAME"])
    currency = rows.get("currency", "").upper()
    return Shop(
        name=rows.get("shop_name") or name_from_database(tenant),
        tenant=tenant,
        release=settings.RELEASE,
        currency=currency if currency in Currency.values else Currency.USD.value,
    )


def name_from_database(database: str) -> str:
    """Return the default name of a shop: ``healthtech_experiment`` is “Healthtech Experiment”."""
    return " ".join(word.capitalize() for word in database.split("_") if word) or database


def shop(request: HttpRequest) -> dict[str, object]:
    """Context processor. Queries the database only if the template uses ``shop``."""
    return {"shop": SimpleLazyObject(current_shop)}
