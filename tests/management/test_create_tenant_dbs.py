"""`create_tenant_dbs` as (out, err, exit code), and what it does not change."""

from __future__ import annotations

import io
import re

import pytest
from psycopg import sql

from deploytools.tenants.isolation import verify_tenant
from tests.management.runner import Result, run
from tests.management.terminal import Terminal

VERIFIED = "verified: the application role can log in and create tables, PUBLIC cannot connect"


TENANT_STEPS = [
    "create database {} with connections disabled",
    "revoke CONNECT and TEMPORARY on {} from PUBLIC",
    "set comment on {} (managed by deploytools)",
    "transfer ownership of {} from postgres to ROLE",
    "enable connections to {}",
]


def plan(deployment, *, verbosity=1):
    """The lines of the plan for two new tenants."""
    one, two = deployment.tenants
    lines = ["2 tenants: 2 to create; 3 steps for the shared role"] + [f"  - {line}" for line in role_steps(deployment)]
    steps = [step.replace("ROLE", deployment.role) for step in TENANT_STEPS]
    if verbosity > 1:
        return lines + [f"  - {step.format(name)}" for name in deployment.tenants for step in steps]
    return [*lines, f"  for each of 2 tenants ({one}, {two}):", *(f"    - {step.format('TENANT')}" for step in steps)]


def role_steps(deployment):
    return [
        f"create role {deployment.role} (LOGIN only; password from the secret)",
        f"grant {deployment.role} to the master user (required to transfer ownership)",
        f"set client_encoding, default_transaction_isolation, timezone of role {deployment.role} "
        "to the values Django expects",
    ]


def without_times(text):
    return re.sub(r"\d+\.\d s", "… s", text)


@pytest.mark.other_versions
def test_create_and_run_again(capsys, deployment):
    result = run(capsys, "create_tenant_dbs", "--noinput")
    one, two = deployment.tenants
    *header, rest = without_times(result.out).split("\n", 3)
    first, rest = "\n".join(header), rest.splitlines()
    assert re.fullmatch(
        rf"PostgreSQL [0-9.]+ at {re.escape(str(deployment.postgres.address))}\n"
        r"  Master user: postgres \(password: master_\* in the shared secret\)\n"
        r"  system_identifier: [0-9]+",
        first,
    )
    assert rest == [
        *plan(deployment),
        f"✓ {one}, {two}: 5 steps applied; {VERIFIED}",
        "2 tenants: 2 verified; … s",
    ]
    assert re.fullmatch(r"(\[[12]/2\] t\w+_(one|two)\n){2}", result.err)
    assert result.code == 0
    for tenant in deployment.tenants:
        verify_tenant(deployment.login(), tenant)

    before = deployment.postgres.snapshot(deployment.tenants)
    again = run(capsys, "create_tenant_dbs")
    unchanged = f"{first}\n2 tenants: 2 up to date\n  No changes: everything is up to date.\n"
    assert again._replace(out=without_times(again.out)) == Result(
        f"{unchanged}✓ {one}, {two}: no changes; {VERIFIED}\n2 tenants: 2 verified; … s\n", "", 0
    )
    assert run(capsys, "create_tenant_dbs", "--check") == Result(unchanged, "", 0)
    verbose = run(capsys, "create_tenant_dbs", "--verbosity", "2")
    assert without_times(verbose.out).splitlines()[5:] == [
        f"✓ {one}: no changes; {VERIFIED}",
        f"✓ {two}: no changes; {VERIFIED}",
        "· Master user postgres can access 2 of 2 tenant databases",
        "2 tenants: 2 verified; … s",
    ]
    assert deployment.postgres.snapshot(deployment.tenants) == before


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--check", 1)])
def test_plan_and_check_change_nothing(capsys, deployment, option, code):
    result = run(capsys, "create_tenant_dbs", option)
    assert result.out.splitlines()[3:] == plan(deployment)
    verbose = run(capsys, "create_tenant_dbs", option, "--verbosity", "2")
    assert verbose.out.splitlines()[3:] == plan(deployment, verbosity=2)
    assert (result.err, result.code) == ("", code)
    assert deployment.postgres.snapshot(deployment.tenants) == []


def test_plan_in_a_file(capsys, deployment, tmp_path):
    result = run(capsys, "create_tenant_dbs", "--plan", "--output", str(tmp_path / "plan.txt"))
    assert result.out == ""
    assert (tmp_path / "plan.txt").read_text().splitlines() == plan(deployment)


def test_confirmation_requires_a_terminal(capsys, deployment, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    result = run(capsys, "create_tenant_dbs")
    assert result.err.startswith("Error: Confirmation required, but stdin is not a terminal. Nothing was changed.")
    assert result.code == 1
    assert deployment.postgres.snapshot(deployment.tenants) == []


@pytest.mark.slow
def test_unmanaged_database_is_reported_and_not_changed(capsys, deployment):
    one, two = deployment.tenants
    with deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    before = deployment.postgres.snapshot([one])
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.code == 1
    error = f"{one} exists but is not managed by deploytools (owner rdsadmin, PUBLIC can connect); it was not changed."
    hint = "Hint: If it belongs to this tenant, review and adopt it: python manage.py create_tenant_dbs --adopt --plan"
    lines = without_times(result.out).splitlines()
    assert (lines[3], lines[-7:]) == (
        "2 tenants: 1 to create, 1 refused; 3 steps for the shared role",
        [
            f"  ! {error}",
            f"    {hint}",
            f"  · --adopt: Roles with CONNECT on {one} only through PUBLIC cannot open new sessions",
            f"✓ {two}: 5 steps applied; {VERIFIED}",
            f"✗ {one}: {error}",
            f"  {hint}",
            "2 tenants: 1 verified, 1 refused; … s",
        ],
    )
    assert deployment.postgres.snapshot([one]) == before
    assert run(capsys, "create_tenant_dbs", "--check").code == 1


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        (
            {"master_password": "not-the-masters"},
            "Error: Could not connect as postgres to postgres at {address} (password authentication failed): "
            'FATAL: password authentication failed for user "postgres"',
            "Hint: Set master_password in the secret to the password of the master user postgres",
        ),
        (
            {"master_password": None},
            "Error: The password of the master user postgres is not set.",
            "Hint: Specify a secret that has it (--master-secret), add master_username and master_password to",
        ),
        (
            {"password": None, "host": None},
            "Error: The secret {name} is missing 2 required keys: host, password.",
            "Hint: Write them to a JSON file and run: python manage.py sync_secrets FILE",
        ),
        (
            {"username": "postgres"},
            "Error: The application role and the master user are both postgres.",
            "Hint: Set username in the secret to a separate role for the application",
        ),
    ],
)
def test_errors_have_a_hint_and_change_nothing(capsys, deployment, changes, error, hint):
    deployment.put(**changes)
    result = run(capsys, "create_tenant_dbs", "--noinput")
    first, second = result.err.splitlines()
    assert first == error.format(name=deployment.name, address=deployment.postgres.address)
    assert second.startswith(hint)
    assert result.code == 2
    assert deployment.postgres.snapshot(deployment.tenants) == []


@pytest.mark.slow
def test_master_from_the_environment(capsys, deployment, monkeypatch):
    master = deployment.postgres.master
    deployment.put(master_username=None, master_password=None)
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_USERNAME", master.user)
    monkeypatch.setenv("DEPLOYTOOLS_MASTER_PASSWORD", master.password.reveal())
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0


def test_master_password_from_a_prompt(capsys, deployment, monkeypatch):
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
        'Error: DEPLOYTOOLS["TENANTS"] is empty.\nHint: Set it, for example: DEPLOYTOOLS = {"TENANTS": ["shop_one"]}\n',
        2,
    )


@pytest.mark.slow
def test_application_role_is_not_accepted_as_master(capsys, deployment):
    run(capsys, "create_tenant_dbs", "--noinput")
    before = deployment.postgres.snapshot(deployment.tenants)
    deployment.put(
        master_username=deployment.role, master_password=deployment.document()["password"], username="other_role"
    )
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.err.splitlines() == [
        f"Error: Role {deployment.role} does not have CREATEDB and CREATEROLE: permission denied to create tenants.",
        "Hint: Use the master user of the RDS instance (postgres) instead of the application role: "
        "--master-username, or master_username and master_password in the secret.",
    ]
    assert (result.code, deployment.postgres.snapshot(deployment.tenants)) == (2, before)
