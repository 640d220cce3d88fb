"""The shop's own check of `verify_deploy`: its catalogue is not empty."""

from __future__ import annotations

import pytest
from django.db import connection

from deploytools.errors import DatabaseError
from deploytools.verification.facts import Failed, Value
from deploytools.verification.findings import Status
from deploytools.verification.registry import load_registry
from deploytools.verification.runner import judge
from order import deploy_checks
from order.models import Product

CHECK = load_registry().checks["shop.catalogue-not-empty"]


@pytest.fixture
def open_connection(monkeypatch, db):
    """The test's own connection stays open: it holds what the test wrote."""
    monkeypatch.setattr(connection, "close", lambda: None)


@pytest.mark.parametrize(
    ("published", "status", "evidence"),
    [
        ([], Status.FAIL, "no product is published"),
        ([False], Status.FAIL, "no product"),
        ([True], Status.PASS, "1 products"),
    ],
)
def test_the_catalogue(open_connection, published, status, evidence):
    for index, is_published in enumerate(published):
        Product.objects.create(identifier=f"p{index}", slug=f"p{index}", title="P", is_published=is_published)
    (finding,) = judge(CHECK, {"products_on_offer": Value(deploy_checks.products_on_offer())})
    assert finding.status is status
    assert finding.evidence.startswith(evidence)


def test_a_database_that_django_cannot_read(open_connection):
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE order_product RENAME TO elsewhere")
    with pytest.raises(DatabaseError) as caught:
        deploy_checks.products_on_offer()
    (finding,) = judge(CHECK, {"products_on_offer": Failed(caught.value)})
    assert (finding.status, finding.evidence) == (
        Status.UNKNOWN,
        "Django could not count the products (ProgrammingError).",
    )
