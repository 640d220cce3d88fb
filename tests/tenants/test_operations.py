"""Operations compose their SQL, or refuse to."""

from __future__ import annotations

import pytest

from deploytools.tenants.database_operations import RunMigrations
from deploytools.tenants.operations import CreateRole, SetPassword


@pytest.mark.parametrize("operation", [CreateRole("shop"), SetPassword("shop"), RunMigrations("shop", "owner")])
def test_an_empty_password_or_statement_is_never_composed(operation):
    with pytest.raises(ValueError, match="No SQL to"):
        operation.sql()


def test_the_password_is_the_verifier():
    assert (
        CreateRole("shop").sql("SCRAM-SHA-256$x").as_string()
        == """CREATE ROLE "shop" LOGIN PASSWORD 'SCRAM-SHA-256$x'"""
    )
