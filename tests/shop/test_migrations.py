"""Migrations, forwards and backwards, as a role that owns the database and has no other privileges."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from clientevent.models import Configuration as EventConfiguration
from order.models import Configuration, DiscountType, Order, OrderStatus, ShippingMethod, SkuType, Status
from tests.shop.tables import DJANGO, TABLES
from user.models import AdStatus, AdType, EmailStatus, EmailType, TermsOfUseVersion

APPS = ("user", "order", "clientevent")

SEEDS: dict[Any, set[str]] = {
    EmailType: {"member", "prospect"},
    EmailStatus: {"draft", "ready", "sent"},
    AdType: {"search", "display", "social"},
    AdStatus: {"planned", "running", "finished"},
    TermsOfUseVersion: {"1"},
    Configuration: {"shop_name", "currency"},
    SkuType: {"goods", "download", "service"},
    ShippingMethod: {"standard", "express", "pickup"},
    DiscountType: {"percent-off", "amount-off", "free-shipping"},
    Status: {"placed", "paid", "packed", "shipped", "delivered", "cancelled", "refunded"},
    EventConfiguration: {"log_client_events", "keep_days"},
}
KEYS = {TermsOfUseVersion: "version", Configuration: "key", EventConfiguration: "key"}


def migrate(alias: str, *targets: tuple[str, str | None]) -> None:
    """Migrate as the command does, without its slow parts: checks, permissions and content types."""
    executor = MigrationExecutor(connections[alias])
    executor.migrate(list(targets) or executor.loader.graph.leaf_nodes())


def tables(alias: str) -> list[str]:
    return sorted(connections[alias].introspection.table_names())


def seeds(alias: str) -> dict[Any, set[str]]:
    return {
        model: set(model._default_manager.using(alias).values_list(KEYS.get(model, "identifier"), flat=True))
        for model in SEEDS
    }


def test_each_app_has_two_linear_migrations():
    graph = MigrationLoader(None).graph
    for app in APPS:
        assert sorted(key for key in graph.nodes if key[0] == app) == [
            (app, "0001_initial"),
            (app, "0002_reference_rows"),
        ]
        assert graph.leaf_nodes(app) == [(app, "0002_reference_rows")]


def test_all_operations_are_reversible():
    loader = MigrationLoader(None)
    for (app, name), migration in loader.disk_migrations.items():
        if app in APPS:
            assert [op for op in migration.operations if not op.reversible] == [], name


@pytest.mark.slow
def test_migrate_creates_the_tables(empty_database_of_each_version):
    migrate(empty_database_of_each_version)
    assert tables(empty_database_of_each_version) == TABLES


@pytest.mark.slow
def test_forwards_backwards_and_forwards_again(empty_database):
    alias = empty_database
    migrate(alias)
    assert seeds(alias) == SEEDS

    migrate(alias, *((app, "0001_initial") for app in APPS))
    assert (tables(alias), seeds(alias)) == (TABLES, {model: set() for model in SEEDS})

    migrate(alias, *((app, None) for app in APPS))
    assert tables(alias) == DJANGO

    migrate(alias)
    assert (tables(alias), seeds(alias)) == (TABLES, SEEDS)


@pytest.mark.slow
def test_referenced_and_changed_reference_rows_are_kept(empty_database):
    alias = empty_database
    migrate(alias)
    order = Order.objects.using(alias).create(
        identifier="O-1", email="a@example.com", subtotal=Decimal(1), total=Decimal(1)
    )
    paid = Status.objects.using(alias).get(identifier="paid")
    OrderStatus.objects.using(alias).create(order=order, status=paid)

    migrate(alias, ("order", "0001_initial"))
    assert [status.identifier for status in Status.objects.using(alias).all()] == ["paid"]
    Status.objects.using(alias).update(title="Paid in full")

    migrate(alias)
    assert seeds(alias) == SEEDS
    assert Order.objects.using(alias).with_status().get().status_title == "Paid in full"


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS)
@pytest.mark.django_db
def test_sqlmigrate(app, capsys):
    call_command("sqlmigrate", app, "0001")
    assert "CREATE TABLE" in capsys.readouterr().out
