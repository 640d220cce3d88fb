"""`check_rds` and `verify_deploy --tag startup` find every reason why Django itself cannot use its database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.backends.signals import connection_created

from tests.deployment import Deployment
from tests.management.runner import run

ROOT = Path(__file__).parent.parent.parent
NAME = "connection.django"


@pytest.fixture
def other_ca(tmp_path: Path) -> str:
    """Return the path of a CA that did not sign the server's certificate."""
    path = tmp_path / "other-ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], int]:
    """Return the finding about Django's connection and the exit code of `check_rds`."""
    result = run(capsys, "check_rds", "--format", "json", *arguments)
    (finding,) = [found for found in json.loads(result.out)["findings"] if found["check"] == NAME]
    return finding, result.code


def faults(made: Deployment, other_ca: str) -> dict[str, tuple[dict[str, Any], list[str], str]]:
    """Return what is wrong in ``DATABASES["default"]``, words of the evidence, and the end of the hint."""
    address, options = made.postgres.address, made.database["OPTIONS"]
    missing = {**options, "sslrootcert": "/nowhere/ca.pem"}
    without_address = {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"}
    return {
        "port": (
            {"PORT": 1},
            ["(connection refused)", f"PORT is 1, expected {address.port}"],
            f"PORT to {address.port}",
        ),
        "password": (
            {"PASSWORD": "canary-of-django"},
            ["(password authentication failed)", "PASSWORD differs from the password in the secret"],
            "set PASSWORD to the password in the secret",
        ),
        "user": ({"USER": "nothing"}, ["USER is nothing, expected " + made.role], f"set USER to {made.role}"),
        "missing-ca": (
            {"OPTIONS": missing},
            ["(certificate not trusted)", "OPTIONS['sslrootcert'] is /nowhere/ca.pem, expected "],
            f"set OPTIONS['sslrootcert'] to {address.sslrootcert}",
        ),
        "wrong-ca": (
            {"OPTIONS": {**options, "sslrootcert": other_ca}},
            ["(certificate not trusted)", f"OPTIONS['sslrootcert'] is {other_ca}, expected "],
            f"set OPTIONS['sslrootcert'] to {address.sslrootcert}",
        ),
        "host": (
            {"HOST": "db.somewhere-else.net"},
            ["(certificate name mismatch)", "HOST is db.somewhere-else.net, expected "],
            f"set HOST to {address.host}",
        ),
        "other-database": (
            {"NAME": "postgres"},
            [f"NAME is postgres, expected one of {', '.join(made.tenants)}"],
            f"set NAME to one of {', '.join(made.tenants)}",
        ),
        "no-options": (
            {"OPTIONS": {}},
            ["(host name not found)", "OPTIONS['hostaddr'] is not set", "OPTIONS['sslmode'] is not set (libpq uses"],
            f"set OPTIONS['sslrootcert'] to {address.sslrootcert}",
        ),
        "all-at-once": (
            {"PORT": 1, "OPTIONS": without_address},
            ["PORT is 1", "OPTIONS['hostaddr'] is not set", "OPTIONS['sslrootcert'] is /nowhere/ca.pem"],
            f"set OPTIONS['sslrootcert'] to {address.sslrootcert}",
        ),
    }


CASES = [
    "port",
    "password",
    "user",
    "missing-ca",
    "wrong-ca",
    "host",
    "other-database",
    "no-options",
    "all-at-once",
]


@pytest.mark.slow
def test_every_fault_of_the_settings_is_found(capsys, made, other_ca, monkeypatch):
    assert check(capsys)[1] == 0
    found = faults(made, other_ca)
    assert list(found) == CASES
    for name, (wrong, words, hint) in found.items():
        with monkeypatch.context() as changed:
            for key, value in wrong.items():
                changed.setitem(made.database, key, value)
            finding, code = check(capsys)
        assert (name, finding["status"], code) == (name, "fail", 1)
        assert [word for word in words if word not in finding["evidence"]] == [], name
        assert finding["hint"].endswith(hint), name
        assert "canary" not in json.dumps(finding)
    assert check(capsys)[1] == 0


def test_a_missing_database_is_one_failure_and_the_setting(capsys, made, monkeypatch):
    monkeypatch.setitem(made.database, "NAME", "no_such_database")
    finding, code = check(capsys)
    assert (finding["status"], code) == ("fail", 1)
    assert finding["evidence"].startswith("DATABASES['default']: NAME is no_such_database, expected one of ")


@pytest.mark.slow
def test_no_tls_at_all(capsys, made, monkeypatch):
    options = {"hostaddr": made.postgres.address.hostaddr, "sslmode": "disable"}
    monkeypatch.setitem(made.database, "OPTIONS", options)
    assert check(capsys)[0]["status"] == "fail"
    monkeypatch.setitem(made.database, "OPTIONS", options | {"sslmode": "require"})
    finding, code = check(capsys)
    assert (finding["status"], code) == ("fail", 1)
    assert finding["evidence"].startswith(
        "Django's connection does not verify the server's host name (sslmode require). DATABASES['default']: OPTIONS["
    )
    result = run(capsys, "verify_deploy", "--only", "databases.tls-verified", "--format", "json")
    (tls,) = json.loads(result.out)["findings"]
    assert (tls["evidence"], result.code) == (
        "Django's own connection is encrypted, its sslmode is require",
        1,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"OPTIONS": {"pool": True}, "CONN_MAX_AGE": 5}, "Pooling doesn't support persistent connections"),
        ({"OPTIONS": {"isolation_level": "canary"}}, "Django could not open a connection: "),
        ({"OPTIONS": {"canary": 1}}, 'invalid connection option "canary"'),
        ({"NAME": "x" * 64}, "is longer than PostgreSQL's limit"),
    ],
)
def test_settings_that_django_refuses(capsys, made, monkeypatch, values, words):
    monkeypatch.setitem(made.database, "OPTIONS", made.database["OPTIONS"] | values.get("OPTIONS", {}))
    monkeypatch.setitem(made.database, "CONN_MAX_AGE", values.get("CONN_MAX_AGE", 0))
    finding, code = check(capsys, "--tenant", made.tenants[0])
    if "NAME" in values:
        monkeypatch.setitem(made.database, "NAME", values["NAME"])
        finding, code = check(capsys, "--tenant", made.tenants[0])
    assert (finding["status"], code) == ("fail", 1)
    assert words in finding["evidence"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(DatabaseWrapper, "pool"), reason="this Django has no pool")
def test_no_pool_is_added_to_those_of_the_process(capsys, made, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg_pool", SimpleNamespace(ConnectionPool=lambda **options: options))
    monkeypatch.setitem(made.database, "OPTIONS", made.database["OPTIONS"] | {"pool": {"min_size": 1}})
    assert check(capsys, "--tenant", made.tenants[0])[0]["status"] == "pass"
    assert vars(DatabaseWrapper)["_connection_pools"] == {}


@pytest.mark.slow
def test_another_role_after_the_login(capsys, made, monkeypatch):
    owner = f"{made.name}_owner"
    with made.postgres.admin() as admin:
        admin.execute(f"CREATE ROLE {owner}; GRANT {owner} TO {made.role}".encode())
    monkeypatch.setitem(made.database, "OPTIONS", made.database["OPTIONS"] | {"assume_role": owner})
    finding, code = check(capsys)
    assert (finding["status"], code) == ("fail", 1)
    assert finding["evidence"].startswith(f"Django's role is {owner}, expected {made.role}.")


@pytest.mark.slow
def test_another_backend_for_postgresql(capsys, made, monkeypatch):
    monkeypatch.setitem(made.database, "ENGINE", "tests.backends.wrapped")
    assert check(capsys)[1] == 0
    monkeypatch.setitem(made.database, "OPTIONS", made.database["OPTIONS"] | {"sslmode": "require"})
    assert run(capsys, "verify_deploy", "--only", "databases.tls-verified").code == 1


@pytest.mark.slow
def test_a_backend_for_another_database(capsys, made, monkeypatch):
    monkeypatch.setitem(made.database, "ENGINE", "tests.backends.postgresql_in_the_name")
    result = run(capsys, "check_rds", "--format", "json")
    found = {item["check"]: item for item in json.loads(result.out)["findings"]}
    assert (found["connection.configuration"]["status"], found[NAME]["status"]) == ("fail", "not applicable")
    assert "which is not a backend for PostgreSQL" in found["connection.configuration"]["evidence"]
    assert found["connection.configuration"]["hint"].startswith("Set it to django.db.backends.postgresql")
    assert result.code == 1


@pytest.mark.slow
def test_other_settings_for_the_same_connection(capsys, made, monkeypatch, other_ca):
    """`check_rds` observes that it is the same; whether the settings are the secret's is another check."""
    Path(other_ca).write_text(Path(other_ca).read_text() + Path(made.postgres.address.sslrootcert).read_text())
    monkeypatch.setitem(made.database, "OPTIONS", made.database["OPTIONS"] | {"sslrootcert": other_ca})
    finding, code = check(capsys)
    assert (finding["status"], code) == ("pass", 0)
    assert ", verify-full, but not as in the secret: OPTIONS['sslrootcert']; psycopg 3." in finding["evidence"]
    result = run(capsys, "verify_deploy", "--only", "django.credentials-match-secret", "--format", "json")
    assert f"OPTIONS['sslrootcert'] is {other_ca}, expected " in json.loads(result.out)["findings"][0]["evidence"]


@pytest.mark.slow
def test_the_secret_needs_no_engine(capsys, made):
    made.put(engine=None)
    assert run(capsys, "check_rds").code == 0


@pytest.mark.slow
def test_another_tenant_and_a_role_of_its_own(capsys, deployment, settings):
    """Django's connection stays the one of this process's tenant."""
    prefix = f"{deployment.name}/tenant/"
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    one, two = deployment.tenants
    deployment.use_login(json.loads(deployment.client.get_secret_value(SecretId=prefix + one)["SecretString"]))
    finding, code = check(capsys, "--tenant", two)
    assert (finding["evidence"].startswith(f"{one} in {one} at "), code) == (True, 0)
    deployment.use_login(json.loads(deployment.client.get_secret_value(SecretId=prefix + two)["SecretString"]))
    finding, code = check(capsys)
    assert (finding["status"], code) == ("fail", 1)
    assert f"USER is {two}, expected {one} (username in the tenant's secret)" in finding["evidence"]
    deployment.database["NAME"] = "postgres"
    result = run(capsys, "check_rds", "--format", "json")
    found = {row["check"]: row for row in json.loads(result.out)["findings"]}["connection.connect"]
    assert (found["status"], result.code) == ("fail", 1)
    assert found["evidence"] == (
        f"DATABASES['default']: NAME is postgres, expected one of {one}, {two} (DEPLOYTOOLS[\"TENANTS\"])."
    )


@pytest.mark.slow
def test_the_connection_is_separate_and_closed(capsys, made):
    """The host's own connection is not used, and the host's signal handlers run as for any connection."""
    opened = []

    def on_connection(connection: Any, **_: Any) -> None:
        opened.append(connection)

    connection_created.connect(on_connection)
    try:
        assert check(capsys)[1] == 0
    finally:
        connection_created.disconnect(on_connection)
    (used,) = opened
    assert (used.alias, used.connection) == ("default", None)
    assert used.settings_dict is not connection.settings_dict
    assert "connect_timeout" not in made.database["OPTIONS"]


@pytest.mark.slow
def test_a_login_that_changed_since_the_start(capsys, made, monkeypatch):
    """The backend uses the present one, so that nothing differs; another secret does."""
    login = {"SECRET": made.name, "REGION": "us-east-1"}
    for key, value in {"ENGINE": "deploytools.backend", "LOGIN": login, "PASSWORD": "canary-of-the-start"}.items():
        monkeypatch.setitem(made.database, key, value)
    finding, code = check(capsys)
    assert (finding["status"], code) == ("pass", 0), finding
    result = run(capsys, "verify_deploy", "--only", "django.credentials-match-secret", "--format", "json")
    assert "DATABASES" not in json.loads(result.out)["findings"][0]["evidence"]
    owner = f"{made.name}_owner"
    with made.postgres.admin() as admin:
        admin.execute(f"CREATE ROLE {owner}; GRANT {owner} TO {made.role}".encode())
    with monkeypatch.context() as changed:
        changed.setitem(made.database, "OPTIONS", made.database["OPTIONS"] | {"assume_role": owner})
        assert check(capsys)[0]["evidence"].startswith(f"Django's role is {owner}, expected {made.role}.")
    monkeypatch.setitem(made.database, "LOGIN", login | {"SECRET": "another"})
    finding, code = check(capsys)
    assert (finding["status"], code) == ("fail", 1)
    assert f"LOGIN['SECRET'] is another, expected {made.name}" in finding["evidence"]


def manage(made: Deployment, place: Path, changes: str, *arguments: str) -> tuple[str, int]:
    """Run ``manage.py`` with production settings that these lines change."""
    (place / "changed_settings.py").write_text(
        f"from StartupWebApp.settings_production import *\ndefault = DATABASES['default']\n{changes}\n"
    )
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {"PYTHONPATH": str(place), "DJANGO_SETTINGS_MODULE": "changed_settings"}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=keep | dict(made.environment) | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr, done.returncode


CHANGES = {
    "port": ("default['PORT'] = 1", "PORT is 1, expected "),
    "password": (  # deploytools.backend would read the right one from the secret.
        "default |= {{'PASSWORD': 'canary-of-django', 'ENGINE': 'django.db.backends.postgresql'}}",
        "PASSWORD differs from the password in the secret",
    ),
    "missing-ca": (
        "default['OPTIONS']['sslrootcert'] = '/nowhere/ca.pem'",
        "OPTIONS['sslrootcert'] is /nowhere/ca.pem",
    ),
    "wrong-ca": ("default['OPTIONS']['sslrootcert'] = {other_ca!r}", "OPTIONS['sslrootcert'] is "),
    "name": ("default['NAME'] = 'no_such_database'", "NAME is no_such_database, expected one of "),
    "host": ("default['HOST'] = 'db.somewhere-else.net'", "HOST is db.somewhere-else.net, expected "),
    "no-options": ("del default['OPTIONS']", "OPTIONS['sslmode'] is not set (libpq uses prefer)"),
}


@pytest.mark.parametrize(
    "case", [case if case in {"port", "no-options"} else pytest.param(case, marks=pytest.mark.slow) for case in CHANGES]
)
def test_a_process_with_wrong_settings(made, tmp_path, other_ca, case):
    changes, words = CHANGES[case]
    for command in (("check_rds",), ("verify_deploy", "--tag", "startup")):
        output, code = manage(made, tmp_path, changes.format(other_ca=other_ca), *command)
        assert (words in " ".join(output.split()), code) == (True, 1), output
        assert "canary-of-django" not in output


@pytest.mark.slow
def test_a_process_with_the_right_settings(made, tmp_path):
    for command in (("check_rds",), ("verify_deploy", "--tag", "startup")):
        output, code = manage(made, tmp_path, "", *command)
        assert code == 0, output
