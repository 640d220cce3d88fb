"""What `verify_deploy` asks of the shop: whether there is anything to sell."""

from __future__ import annotations

from deploytools.databases.access import tenant_login
from deploytools.databases.probe import ConnectionReport
from deploytools.databases.server import translating
from deploytools.secret.sync import SecretState
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed
from deploytools.verification.registry import check, fact


@fact()
def catalogue_size(secret: SecretState, connection: ConnectionReport) -> int | None:
    """How many products this process's tenant has, counted as the application; None before it is migrated."""
    login = tenant_login(secret.document, connection.database)
    with login.connect(connection.database) as session, translating("count its products"):
        tables = session.execute("SELECT 1 WHERE to_regclass('order_product') IS NOT NULL").fetchall()
        rows = session.execute("SELECT count(*) AS number FROM order_product").fetchall() if tables else []
    return int(rows[0].number) if rows else None


@check(
    "shop.catalogue-not-empty",
    title="The shop has products",
    severity=Severity.MEDIUM,
    stage=Stage.LAUNCH,
    guide="Step 9",
    hint="Run: python manage.py load_sample_data",
)
def catalogue_not_empty(catalogue_size: int | None) -> Verdict:
    """A shop without products takes no orders."""
    if catalogue_size is None:
        return not_applicable("there are no tables yet (see databases.migrated)")
    return passed(f"{catalogue_size} products") if catalogue_size else failed("there is no product")
