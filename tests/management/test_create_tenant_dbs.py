"""`create_tenant_dbs` as (out, err, exit code), and what it did not change."""

from __future__ import annotations

import io
import re

import pytest
from psycopg import sql

from deploytools.databases.proof import prove
from tests.management.runner import Result, run

PROOF = "the application's role logs in and creates a table, PUBLIC is shut out"
MASTER = "· the master postgres may act as the owner of 2 of 2 databases"


def steps(deployment):
    lines = [
        f"create role {deployment.role} (LOGIN, nothing else; password as in the secret)",
        f"grant {deployment.role} to the master, so that it may hand databases over",
        f"set client_encoding, default_transaction_isolation, timezone of role {deployment.role} as Django wants them",
    ]
    for tenant in deployment.tenants:
        lines += [
            f"create database {tenant}, closed to connections",
            f"revoke CONNECT and TEMPORARY on {tenant} from PUBLIC",
            f"mark {tenant} as a tenant's",
            f"hand {tenant} over from postgres to {deployment.role}",
            f"open {tenant} to connections",
        ]
    return lines


@pytest.mark.other_versions
def test_from_nothing_to_proved_and_again(capsys, deployment):
    result = run(capsys, "create_tenant_dbs", "--noinput")
    first, *rest = result.out.splitlines()
    assert re.fullmatch(
        rf"PostgreSQL [0-9.]+ at {re.escape(str(deployment.postgres.address))}, as postgres "
        r"\(password: master_\* in the shared secret; system_identifier [0-9]+\):",
        first,
    )
    assert rest == [
        *(f"  - {step}" for step in steps(deployment)),
        *(f"✓ {tenant}: 5 steps done; {PROOF}" for tenant in deployment.tenants),
        MASTER,
    ]
    assert re.fullmatch(r"(\[[12]/2\] t\w+_(one|two): 5 steps done\n){2}", result.err)
    assert result.code == 0
    for tenant in deployment.tenants:
        prove(deployment.login(), tenant)

    before = deployment.postgres.snapshot(deployment.tenants)
    again = run(capsys, "create_tenant_dbs")
    assert again == Result(
        f"{first}\n  Everything is in place.\n"
        + "".join(f"✓ {tenant}: nothing to do; {PROOF}\n" for tenant in deployment.tenants)
        + f"{MASTER}\n",
        "",
        0,
    )
    assert run(capsys, "create_tenant_dbs", "--check") == Result(f"{first}\n  Everything is in place.\n", "", 0)
    assert deployment.postgres.snapshot(deployment.tenants) == before


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--check", 1)])
def test_looking_changes_nothing(capsys, deployment, option, code):
    result = run(capsys, "create_tenant_dbs", option)
    assert result.out.splitlines()[1:] == [f"  - {step}" for step in steps(deployment)]
    assert (result.err, result.code) == ("", code)
    assert deployment.postgres.snapshot(deployment.tenants) == []


def test_without_a_terminal_it_does_not_guess(capsys, deployment, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    result = run(capsys, "create_tenant_dbs")
    assert result.err.startswith("Error: Nothing was changed: this is not a terminal")
    assert result.code == 1
    assert deployment.postgres.snapshot(deployment.tenants) == []


def test_a_foreign_database_is_left_alone_and_told(capsys, deployment):
    one, two = deployment.tenants
    with deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    before = deployment.postgres.snapshot([one])
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.code == 1
    assert result.out.splitlines()[-4:-1] == [
        f"✗ {one}: {one} exists and was not made by these commands (owner rdsadmin, PUBLIC may connect); "
        "it was left alone.",
        "  Hint: If it is this tenant's, look at what would change and take it over: "
        "python manage.py create_tenant_dbs --adopt --plan",
        f"✓ {two}: 5 steps done; {PROOF}",
    ]
    assert deployment.postgres.snapshot([one]) == before
    assert run(capsys, "create_tenant_dbs", "--check").code == 1


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        (
            {"master_password": "not-the-masters"},
            "Error: No connection of postgres to postgres at {address} (password refused): "
            'FATAL: password authentication failed for user "postgres"',
            "Hint: Put the right password of the master user postgres into the secret as master_password",
        ),
        (
            {"master_password": None},
            "Error: The password of the master user postgres is not known.",
            "Hint: Name a secret that has it (--master-secret), put master_username and master_password into",
        ),
        (
            {"password": None, "host": None},
            "Error: The secret {name} lacks 2 of the keys it needs: host, password.",
            "Hint: Write them into a JSON file and run: python manage.py sync_secrets FILE",
        ),
        (
            {"username": "postgres"},
            "Error: The application's role and the master are both postgres.",
            "Hint: Give the application a role of its own",
        ),
    ],
)
def test_errors_tell_what_to_do_and_change_nothing(capsys, deployment, changes, error, hint):
    deployment.put(**changes)
    result = run(capsys, "create_tenant_dbs", "--noinput")
    first, second = result.err.splitlines()
    assert first == error.format(name=deployment.name, address=deployment.postgres.address)
    assert second.startswith(hint)
    assert result.code == 2
    assert deployment.postgres.snapshot(deployment.tenants) == []


def test_the_master_may_come_from_the_environment(capsys, deployment, monkeypatch):
    master = deployment.postgres.master
    deployment.put(master_username=None, master_password=None)
    monkeypatch.setenv("DB_MASTER_USERNAME", master.user)
    monkeypatch.setenv("DB_MASTER_PASSWORD", master.password.reveal())
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0


def test_the_master_may_be_asked_for(capsys, deployment, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    master = deployment.postgres.master
    deployment.put(master_username=None, master_password=None)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr("getpass.getpass", lambda prompt: master.password.reveal())
    result = run(capsys, "create_tenant_dbs")
    assert (result.code, "Apply this plan? [y/N] " in result.err) == (0, True)


def test_no_tenants(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"TENANTS": []}
    assert run(capsys, "create_tenant_dbs", "--noinput") == Result(
        "",
        'Error: The settings name no tenants.\nHint: For example: DEPLOYTOOLS = {"TENANTS": ["startupwebapp_prod"]}\n',
        2,
    )


def test_an_application_role_without_its_powers_is_no_master(capsys, deployment):
    run(capsys, "create_tenant_dbs", "--noinput")
    before = deployment.postgres.snapshot(deployment.tenants)
    deployment.put(
        master_username=deployment.role, master_password=deployment.document()["password"], username="somebody_else"
    )
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.err.splitlines() == [
        f"Error: The role {deployment.role} lacks CREATEDB and CREATEROLE: permission denied to create what is wanted.",
        "Hint: Use the master user of the RDS instance (postgres), not the application's: --master-username, or "
        "master_username and master_password in the secret.",
    ]
    assert (result.code, deployment.postgres.snapshot(deployment.tenants)) == (2, before)
