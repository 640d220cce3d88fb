"""`create_tenant_dbs` with tables and a superuser, as a process of its own: (out, err, exit code)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from psycopg import sql

from deploytools.secret.value import Secret
from tests.deployment import Deployment
from tests.fleet.world import FIRST, ROOT, SECOND, Fleet
from tests.management.runner import Result
from tests.postgres import scram

#: Django's own, and no shop: migrated in a second.
APPS = {"FLEET_APPS": "django.contrib.contenttypes,django.contrib.auth"}
PASSWORD = "canary-superuser-Zx81"


def create(deployment: Deployment, *arguments: str, **more: str) -> Result:
    done = subprocess.run(
        [sys.executable, "manage.py", "create_tenant_dbs", "--noinput", *arguments],
        cwd=ROOT,
        env=Fleet(deployment, deployment.tenants).environment("v2", **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.stdout, done.stderr, done.returncode)


@pytest.fixture
def fleet(deployment):
    yield Fleet(deployment, deployment.tenants)
    for name in deployment.tenants:  # With a role each, the secrets and the template are the test's, too.
        secret = f"rds/startupwebapp/tenant/{name}"
        if secret in [entry["Name"] for entry in deployment.client.list_secrets()["SecretList"]]:
            deployment.client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)


@pytest.mark.slow
def test_tables_from_a_template_and_old_ones_pruned(fleet):
    deployment = fleet.deployment
    made = create(deployment, "--migrate")
    assert made.code == 0, made
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, SECOND]] * 2
    assert fleet.run("v2", "--check").code == 0
    assert "Everything is in place." in create(deployment, "--migrate", "--check").out
    kept = create(deployment, "--prune-templates")
    assert ("There are no old templates." in kept.err, kept.code) == (True, 0)
    planned = create(deployment, "--prune-templates", "--plan", FLEET="v1")
    assert ("drop the template deploytools_template_" in planned.err, planned.code) == (True, 0)
    pruned = create(deployment, "--prune-templates", FLEET="v1")
    assert ("done: drop the template deploytools_template_" in pruned.err, pruned.code) == (True, 0)
    assert create(deployment, "--prune-templates", "--no-template", "--check").code == 0


@pytest.mark.other_versions
@pytest.mark.slow
def test_with_a_role_each_the_copies_belong_to_their_tenants(fleet):
    made = create(fleet.deployment, "--migrate", ISOLATION="role-per-tenant")
    try:
        assert made.code == 0, made
        for name in fleet.names:
            assert fleet.applied(name) == [FIRST, SECOND]
            owners = "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname ~ '^(fleet|django)_'"
            assert fleet.query(name, owners) == [(name,)]
        assert fleet.run("v2", "--check", ISOLATION="role-per-tenant").code == 0
        assert create(fleet.deployment, "--verify", ISOLATION="role-per-tenant").code == 0
    finally:
        pruned = create(fleet.deployment, "--prune-templates", "--no-template", ISOLATION="role-per-tenant")
        assert pruned.code == 0, pruned


@pytest.mark.slow
def test_a_superuser_from_the_secret_once(fleet):
    deployment = fleet.deployment
    deployment.put(superuser_username="boss", superuser_email="boss@example.com", superuser_password=PASSWORD)
    made = create(deployment, "--migrate", "--superuser", "--verbosity", "2", **APPS)
    assert made.code == 0, made
    assert f"done: make the secret's superuser in {fleet.names[0]}" in made.err
    assert PASSWORD not in made.out + made.err + deployment.postgres.log()
    query = "SELECT username, email, is_superuser, password LIKE 'pbkdf2_%' FROM auth_user"
    assert [fleet.query(name, query) for name in fleet.names] == [[("boss", "boss@example.com", True, True)]] * 2
    before = [fleet.query(name, "SELECT password FROM auth_user") for name in fleet.names]
    again = create(deployment, "--superuser", "--check", **APPS)
    assert ("Everything is in place." in again.out, again.code) == (True, 0)
    assert create(deployment, "--superuser", **APPS).code == 0
    assert [fleet.query(name, "SELECT password FROM auth_user") for name in fleet.names] == before
    fleet.execute(fleet.names[0], "UPDATE auth_user SET is_superuser = false")
    fleet.execute(fleet.names[1], "DELETE FROM auth_user")
    with deployment.postgres.admin() as admin:
        verifier = scram(admin, deployment.role, Secret("drifted"))
        admin.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(deployment.role), sql.Literal(verifier))
        )
    drifted = create(deployment, "--superuser", **APPS)
    assert "who is no superuser; nothing was changed." in drifted.out
    assert (drifted.out.count("✗"), drifted.out.count("✓"), drifted.code) == (1, 1, 1), drifted
    assert fleet.query(fleet.names[1], query) == [("boss", "boss@example.com", True, True)]
    fleet.execute(fleet.names[1], "DELETE FROM auth_user")
    refused = create(deployment, "--superuser", **APPS)
    assert (refused.out.count("✗"), refused.out.count("✓"), refused.code) == (1, 1, 1), refused
    assert fleet.query(fleet.names[1], query) == [("boss", "boss@example.com", True, True)]


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({}, "Error: The secret has no superuser_username and no superuser_password, so there is nobody", 2),
        (
            {"superuser_username": "boss", "superuser_password": "12345678"},
            "Error: The superuser_password in the secret is not good enough. This password is too common.",
            1,
        ),
    ],
)
def test_a_superuser_that_cannot_be_is_told_before_anything_is_done(fleet, changes, error, code):
    fleet.deployment.put(**changes)
    result = create(fleet.deployment, "--migrate", "--superuser", **APPS)
    assert (error in result.err, result.code) == (True, code)
    assert fleet.deployment.postgres.snapshot(fleet.names) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-template"],
        ["--sql", "--migrate"],
        ["--sql", "--superuser"],
        ["--sql-for", "editor"],
        ["--prune-templates", "--format", "json"],
        ["--prune-templates", "--output", "report.txt"],
    ],
)
def test_options_that_contradict_each_other(fleet, arguments):
    result = create(fleet.deployment, *arguments)
    assert (result.out, result.code) == ("", 2)
    assert result.err.startswith("Error: ")
    assert fleet.deployment.postgres.snapshot(fleet.names) == []
