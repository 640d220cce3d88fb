"""`create_tenant_dbs` with tables and a superuser, in a separate process: (out, err, exit code)."""

from __future__ import annotations

import json

import pytest
from psycopg import sql

from deploytools.secrets.document import Secret
from tests.deployment import Deployment
from tests.fleet.world import FIRST, SECOND, Fleet
from tests.forked import manage
from tests.management.runner import Result
from tests.postgres_server import scram

#: One worker: `--prune-templates` drops the templates that another test with the same master user has built.
pytestmark = pytest.mark.xdist_group("templates")

#: Django's own apps without the shop: migrated in a second.
APPS = {"FLEET_APPS": "django.contrib.contenttypes,django.contrib.auth"}
PASSWORD = "canary-superuser-Zx81"


def create(deployment: Deployment, *arguments: str, **more: str) -> Result:
    environment = Fleet(deployment, deployment.tenants).environment("v2", **more)
    return manage("create_tenant_dbs", "--noinput", *arguments, environment=environment)


@pytest.fixture
def fleet(deployment):
    yield Fleet(deployment, deployment.tenants)
    for name in deployment.tenants:  # With a role per tenant, the test creates secrets and a template, too.
        secret = f"rds/startupwebapp/tenant/{name}"
        if secret in [entry["Name"] for entry in deployment.client.list_secrets()["SecretList"]]:
            deployment.client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)


@pytest.mark.slow
def test_tables_from_a_template_and_outdated_templates_pruned(fleet):
    deployment = fleet.deployment
    made = create(deployment, "--migrate")
    assert made.code == 0, made
    assert [fleet.applied(name) for name in fleet.names] == [[FIRST, SECOND]] * 2
    assert fleet.run("v2", "--check").code == 0
    assert "No changes: everything is up to date." in create(deployment, "--migrate", "--check").out
    kept = create(deployment, "--prune-templates")
    assert ("there are no outdated templates." in kept.err, kept.code) == (True, 0)
    planned = create(deployment, "--prune-templates", "--plan", FLEET="v1")
    assert ("drop template deploytools_template_" in planned.err, planned.code) == (True, 0)
    pruned = create(deployment, "--prune-templates", FLEET="v1")
    assert ("done: drop template deploytools_template_" in pruned.err, pruned.code) == (True, 0)
    assert create(deployment, "--prune-templates", "--no-template", "--check").code == 0


@pytest.mark.slow
def test_output_of_a_migration_has_the_name_of_its_database(fleet):
    one, two = fleet.names
    made = create(fleet.deployment, "--migrate", "--no-template", "--format", "json", FLEET="odd", ODD="prints")
    assert (made.code, json.loads(made.out)["counts"]) == (0, {"verified": 2})
    lines = made.err.splitlines()
    for name in (one, two):
        printed = [line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: ")]
        assert printed == ["first", "second [31mred", "to stderr", "not UTF-8:", "without an end"]
    assert lines.count("by a program") == lines.count("by another") == 2


@pytest.mark.other_versions
@pytest.mark.slow
def test_copies_are_owned_by_their_tenants_roles(fleet):
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
def test_superuser_from_the_secret_is_created_once(fleet):
    deployment = fleet.deployment
    deployment.put(superuser_username="boss", superuser_email="boss@example.com", superuser_password=PASSWORD)
    made = create(deployment, "--migrate", "--superuser", "--verbosity", "2", **APPS)
    assert made.code == 0, made
    assert f"done: create the superuser from the secret in {fleet.names[0]}" in made.err
    assert PASSWORD not in made.out + made.err + deployment.postgres.log()
    query = "SELECT username, email, is_superuser, password LIKE 'pbkdf2_%' FROM auth_user"
    assert [fleet.query(name, query) for name in fleet.names] == [[("boss", "boss@example.com", True, True)]] * 2
    before = [fleet.query(name, "SELECT password FROM auth_user") for name in fleet.names]
    again = create(deployment, "--superuser", "--check", **APPS)
    assert ("No changes: everything is up to date." in again.out, again.code) == (True, 0)
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
    assert "who is not a superuser; nothing was changed." in drifted.out
    assert (drifted.out.count("✗"), drifted.out.count("✓"), drifted.code) == (1, 1, 1), drifted
    assert fleet.query(fleet.names[1], query) == [("boss", "boss@example.com", True, True)]
    fleet.execute(fleet.names[1], "DELETE FROM auth_user")
    refused = create(deployment, "--superuser", **APPS)
    assert (refused.out.count("✗"), refused.out.count("✓"), refused.code) == (1, 1, 1), refused
    assert fleet.query(fleet.names[1], query) == [("boss", "boss@example.com", True, True)]


PEOPLE = {"FLEET_APPS": f"{APPS['FLEET_APPS']},tests.people", "AUTH_USER_MODEL": "people.Person"}


@pytest.mark.slow
def test_base_settings_with_sqlite(fleet):
    """The database of startproject's settings; it cannot be opened here."""
    deployment = fleet.deployment
    deployment.put(superuser_username="boss", superuser_password=PASSWORD)
    made = create(deployment, "--migrate", "--superuser", SQLITE="1", FLEET="v1", **APPS)
    assert made.code == 0, made
    assert fleet.query(fleet.names[1], "SELECT username FROM auth_user") == [("boss",)]
    assert create(deployment, "--superuser", "--check", SQLITE="1", FLEET="v1", **APPS).code == 0
    migrated = fleet.run("v2", SQLITE="1", **APPS)
    assert migrated.code == 0, migrated
    assert fleet.applied(fleet.names[0])[-1] == SECOND


@pytest.mark.slow
def test_superuser_of_a_custom_user_model(fleet):
    deployment = fleet.deployment
    one, two = fleet.names
    account = {"superuser_username": "boss@example.net", "superuser_password": PASSWORD}
    deployment.put(**account, superuser_extra={"date_of_birth": "1990-01-31"})
    made = create(deployment, "--migrate", "--superuser", **PEOPLE)
    assert made.code == 0, made
    query = "SELECT email, date_of_birth::text, is_admin FROM people_person"
    assert [fleet.query(name, query) for name in (one, two)] == [[("boss@example.net", "1990-01-31", True)]] * 2
    fleet.execute(one, "DELETE FROM people_person")
    deployment.put(**account)
    incomplete = create(deployment, "--superuser", **PEOPLE)
    text = " ".join(incomplete.out.split())
    assert f"✗ {one}: people.Person requires date_of_birth of a superuser. Hint: Write a JSON file, " in text
    assert '{"superuser_extra": {"date_of_birth": "…"}}, and run: ' in text
    assert f"✓ {two}: no changes; verified" in text
    assert (incomplete.code, "Traceback" in incomplete.err) == (1, False)


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({}, "Error: --superuser requires superuser_username and superuser_password in the secret.", 2),
        (
            {"superuser_username": "boss", "superuser_password": "12345678"},
            "Error: The superuser_password in the secret is too weak. This password is too common.",
            1,
        ),
    ],
)
def test_invalid_superuser_is_refused_before_any_change(fleet, changes, error, code):
    fleet.deployment.put(**changes)
    result = create(fleet.deployment, "--migrate", "--superuser", **APPS)
    assert (error in result.err, result.code) == (True, code)
    assert fleet.deployment.postgres.snapshot(fleet.names) == []


def test_no_template_requires_another_option(fleet):
    result = create(fleet.deployment, "--no-template")
    assert (result.out, result.code) == ("", 2)
    assert result.err.startswith("Error: --no-template requires --migrate or --prune-templates.")
    assert fleet.deployment.postgres.snapshot(fleet.names) == []
