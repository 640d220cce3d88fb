"""``DATABASES["default"]`` compared with the secret and ``DEPLOYTOOLS``, without a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploytools.conf import Settings
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.verification.connection.database_settings import DatabaseSettings
from deploytools.verification.connection.facts import database_settings, django_database
from tests.verification.zoo.world import DOCUMENT

HOST, PASSWORD = str(DOCUMENT["host"]), str(DOCUMENT["password"])
SECRET = SecretState("prod", "us-east-1", "v1", Document(DOCUMENT))
SETTINGS = Settings(tenants=("shop", "other"), database="shop")
RIGHT: dict[str, Any] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "shop",
    "HOST": HOST,
    "PORT": "5432",
    "USER": "django_app",
    "PASSWORD": PASSWORD,
    "OPTIONS": {"sslmode": "verify-full", "connect_timeout": 3},
}


@pytest.fixture
def compared(settings, monkeypatch):
    """Return the comparison with these values in ``DATABASES["default"]``, and these settings."""
    for name in ("PGHOST", "PGHOSTADDR", "PGPASSWORD", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)

    def compare(options: dict[str, Any] | None = None, expected: Settings = SETTINGS, **values: Any) -> Any:
        for key, value in (RIGHT | values | ({} if options is None else {"OPTIONS": options})).items():
            monkeypatch.setitem(settings.DATABASES["default"], key, value)
        return database_settings(SECRET, expected, django_database())

    return compare


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ({}, None, {}),
        ({"PORT": 5432, "HOST": f"{HOST.upper()}."}, None, {}),
        ({"PORT": ""}, None, {}),
        ({"ENGINE": "tests.backends.wrapped", "NAME": "other"}, None, {}),
        ({}, {"sslmode": "verify-full", "sslrootcert": __file__}, {}),
        ({}, {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}, {"sslrootcert": "/etc/ca.pem"}),
        ({}, {"sslmode": "verify-full", "hostaddr": "127.0.0.1"}, {"hostaddr": "127.0.0.1"}),
        ({}, {"sslmode": "verify-full"}, {"sslmode": "require"}),
        ({"PORT": "15432"}, None, {"port": 15432}),
        ({}, {"sslmode": "verify-full", "passfile": "/nowhere"}, {}),
    ],
)
def test_equal_settings(compared, values, options, expected):
    found = compared(options, replace(SETTINGS, **expected), **values)
    assert (found.different, found.sentence, found.hint) == ((), "", "")
    assert found.user == "django_app"
    assert {"HOST", "PORT", "NAME", "USER", "PASSWORD", "OPTIONS['sslmode']"} <= set(found.equal)


@pytest.mark.parametrize(
    ("values", "options", "expected", "sentence", "fix"),
    [
        ({"PORT": 1}, None, {}, "PORT is 1, expected 5432 (port in the secret)", "set PORT to 5432"),
        (
            {},
            None,
            {"port": 15432},
            'PORT is 5432, expected 15432 (DEPLOYTOOLS["PORT"])',
            "set PORT to 15432",
        ),
        (
            {"PORT": ""},
            None,
            {"port": 15432},
            'PORT is not set (libpq uses 5432), expected 15432 (DEPLOYTOOLS["PORT"])',
            "set PORT to 15432",
        ),
        (
            {"HOST": "db.other.net"},
            None,
            {},
            f"HOST is db.other.net, expected {HOST} (host in the secret)",
            f"set HOST to {HOST}",
        ),
        ({"HOST": ""}, None, {}, f"HOST is not set, expected {HOST} (host in the secret)", f"set HOST to {HOST}"),
        (
            {"NAME": "postgres"},
            None,
            {},
            'NAME is postgres, expected one of shop, other (DEPLOYTOOLS["TENANTS"])',
            "set NAME to one of shop, other",
        ),
        (
            {"USER": "postgres"},
            None,
            {},
            "USER is postgres, expected django_app (username in the secret)",
            "set USER to django_app",
        ),
        (
            {"PASSWORD": "another-value"},
            None,
            {},
            "PASSWORD differs from the password in the secret",
            "set PASSWORD to the password in the secret",
        ),
        (
            {},
            {},
            {},
            "OPTIONS['sslmode'] is not set (libpq uses prefer), expected verify-full (DEPLOYTOOLS[\"SSLMODE\"])",
            "set OPTIONS['sslmode'] to verify-full",
        ),
        (
            {},
            {"sslmode": "require"},
            {},
            "OPTIONS['sslmode'] is require, expected verify-full (DEPLOYTOOLS[\"SSLMODE\"])",
            "set OPTIONS['sslmode'] to verify-full",
        ),
        (
            {},
            {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"},
            {},
            "OPTIONS['sslrootcert'] is /nowhere/ca.pem, expected not set (DEPLOYTOOLS[\"SSLROOTCERT\"])",
            "remove OPTIONS['sslrootcert']",
        ),
        (
            {},
            {"sslmode": "verify-full", "sslrootcert": "/a.pem"},
            {"sslrootcert": "/b.pem"},
            "OPTIONS['sslrootcert'] is /a.pem, expected /b.pem (DEPLOYTOOLS[\"SSLROOTCERT\"])",
            "set OPTIONS['sslrootcert'] to /b.pem",
        ),
        (
            {},
            {"sslmode": "verify-full"},
            {"hostaddr": "127.0.0.1"},
            "OPTIONS['hostaddr'] is not set, expected 127.0.0.1 (DEPLOYTOOLS[\"HOSTADDR\"])",
            "set OPTIONS['hostaddr'] to 127.0.0.1",
        ),
        (
            {},
            {"sslmode": "verify-full", "hostaddr": "10.0.0.9"},
            {},
            "OPTIONS['hostaddr'] is 10.0.0.9, expected not set (DEPLOYTOOLS[\"HOSTADDR\"])",
            "remove OPTIONS['hostaddr']",
        ),
        (
            {},
            {"sslmode": "verify-full", "service": "shop"},
            {},
            "OPTIONS['service'] is shop, expected not set (it replaces values of the secret)",
            "remove OPTIONS['service']",
        ),
    ],
)
def test_different_setting(compared, values, options, expected, sentence, fix):
    found = compared(options, replace(SETTINGS, **expected), **values)
    assert found.sentence == f"DATABASES['default']: {sentence}"
    assert found.hint == f"In DATABASES['default'], {fix}"
    assert "another-value" not in repr(found)


def test_passfile_instead_of_the_password(compared):
    found = compared({"sslmode": "verify-full", "passfile": "/home/shop/.pgpass"}, PASSWORD="")
    assert [difference.key for difference in found.different] == ["OPTIONS['passfile']", "PASSWORD"]
    assert PASSWORD not in f"{found!r} {found.sentence} {found.hint}"


def test_values_from_the_environment_are_those_of_libpq(compared, monkeypatch):
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    assert not compared().different
    monkeypatch.setenv("PGPORT", "15432")
    assert not compared(PORT="", expected=replace(SETTINGS, port=15432)).different
    assert compared(PORT="").sentence.startswith("DATABASES['default']: PORT is not set (libpq uses 15432), expected")


def test_a_copy_of_the_ca_bundle_is_equal(compared, tmp_path: Path):
    here, there = tmp_path / "here.pem", tmp_path / "there.pem"
    here.write_text("a CA")
    there.write_text("a CA")
    expected = replace(SETTINGS, sslrootcert=str(there))
    assert not compared({"sslmode": "verify-full", "sslrootcert": str(here)}, expected).different
    here.write_text("another CA")
    assert compared({"sslmode": "verify-full", "sslrootcert": str(here)}, expected).different


def test_any_name_is_expected_without_tenants(compared):
    assert not compared(NAME="anything", expected=Settings()).different


def test_role_per_tenant_and_a_name_that_is_not_a_tenant(compared):
    found = compared(NAME="postgres", expected=replace(SETTINGS, isolation="role-per-tenant"))
    assert [difference.key for difference in found.different] == ["NAME"]
    assert found.user == ""


@pytest.mark.parametrize(
    ("engine", "vendor", "problem"),
    [
        ("django.db.backends.postgresql", "postgresql", ""),
        ("tests.backends.wrapped", "postgresql", ""),
        ("tests.backends.postgresql_in_the_name", "sqlite", ""),
        ("django.db.backends.sqlite3", "sqlite", ""),
        ("django.db.backends.dummy", "unknown", ""),
        ("shop.postgresql", "", "'shop.postgresql' isn't an available database backend or couldn't be imported."),
    ],
)
def test_the_backend_is_recognized_by_its_vendor(settings, monkeypatch, engine, vendor, problem):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", engine)
    found = django_database()
    assert (found.engine, found.vendor, found.is_postgresql) == (engine, vendor, vendor == "postgresql")
    assert found.problem.startswith(problem) and bool(found.problem) == bool(problem)


def test_other_databases_are_not_compared(compared):
    assert compared(ENGINE="tests.backends.postgresql_in_the_name") is None


def test_invalid_settings_are_not_compared(compared):
    """Opening the connection reports them."""
    assert compared(NAME="") == DatabaseSettings()


def test_psycopg2_beside_psycopg_3(settings, monkeypatch, tmp_path):
    assert django_database().driver.startswith("psycopg 3.")
    assert "psycopg2" not in django_database().driver
    (tmp_path / "psycopg2").mkdir()
    (tmp_path / "psycopg2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert django_database().driver.endswith(", which Django prefers to the installed psycopg2")


def test_a_backend_that_reads_the_login_again(compared):
    """The login can have changed since the process started: where it comes from is compared instead."""
    login = {"SECRET": "prod", "REGION": "us-east-1"}
    expected = replace(SETTINGS, secret_name="prod", region="us-east-1")
    recovering = {"ENGINE": "deploytools.backend", "USER": "django_app_b", "PASSWORD": "another-value"}
    found = compared(expected=expected, LOGIN=login, **recovering)
    assert (found.different, found.user, found.recovers) == ((), "", True)
    assert {"LOGIN['SECRET']", "LOGIN['REGION']"} <= set(found.equal)
    assert not {"USER", "PASSWORD"} & set(found.equal)
    found = compared(expected=expected, LOGIN=login | {"SECRET": "test"}, **recovering)
    assert (found.sentence, found.hint) == (
        "DATABASES['default']: LOGIN['SECRET'] is test, expected prod (the secret with the login)",
        "In DATABASES['default'], set LOGIN['SECRET'] to prod",
    )
    found = compared(expected=replace(expected, isolation="role-per-tenant", tenant_secret_prefix="prod/tenant/"),
                     NAME="nothing", LOGIN=login, **recovering)  # fmt: skip
    assert [difference.key for difference in found.different] == ["NAME"]
    found = compared(expected=expected, LOGIN=login, **recovering | {"ENGINE": "django.db.backends.postgresql"})
    assert [difference.key for difference in found.different] == ["USER", "PASSWORD"]


def test_a_token_instead_of_a_password(compared, aws_environment):
    login = {"IAM": True, "REGION": "us-east-1"}
    found = compared(LOGIN=login, ENGINE="deploytools.backend", PASSWORD="")
    assert (found.different, found.user) == ((), "django_app")
    assert "PASSWORD" not in found.equal
