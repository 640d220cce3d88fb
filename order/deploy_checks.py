"""The shop's own check for `verify_deploy`: the catalog contains products."""

from __future__ import annotations

from deploytools.conf import Settings
from deploytools.postgres.connection_probe import SessionReport
from deploytools.postgres.connections import translate_database_errors
from deploytools.secrets.plan import SecretState
from deploytools.tenants.credentials import tenant_login
from deploytools.verification import (
    Severity,
    Stage,
    Verdict,
    check,
    fact,
    failed,
    not_applicable,
    passed,
)


@fact()
def product_count(secret: SecretState, settings: Settings, connection: SessionReport) -> int | None:
    """The number of products of this process's tenant, read as the application; None: not migrated yet."""
    login = tenant_login(settings, secret.document, connection.database)
    with login.connect(connection.database) as session, translate_database_errors("count the products"):
        tables = session.execute("SELECT 1 WHERE to_regclass('order_product') IS NOT NULL").fetchall()
        rows = session.execute("SELECT count(*) AS number FROM order_product").fetchall() if tables else []
    return int(rows[0].number) if rows else None


@check(
    "shop.catalog-not-empty",
    title="Shop has products",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide="Step 9",
    hint="Run: python manage.py load_sample_data",
)
def catalog_not_empty(product_count: int | None) -> Verdict:
    """Customers cannot order anything in a shop without products."""
    if product_count is None:
        return not_applicable("the tables do not exist yet (see databases.migrated)")
    return passed(f"products: {product_count}") if product_count else failed("there is no product")
