"""`create_tenant_dbs`: a role per tenant, --verify, --sql, JSON, progress, and the identity of the server."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections
from psycopg import sql

from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError, Refused, RotationInProgress
from deploytools.postgres.connections import Login, ServerAddress, session
from deploytools.postgres.server_identity import ServerIdentity, read_identity, require_expected_server
from deploytools.secrets.document import Secret
from deploytools.tenants.isolation import assert_login_denied, verify_tenant
from tests.management.runner import run
from tests.management.terminal import Terminal

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def per_tenant(deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {
        "ISOLATION": "role-per-tenant",
        "TENANT_SECRET_PREFIX": f"{deployment.name}/tenant/",
    }
    return deployment


def own_login(deployment, tenant):
    answer = deployment.client.get_secret_value(SecretId=f"{deployment.name}/tenant/{tenant}")
    document = json.loads(answer["SecretString"])
    return Login(deployment.postgres.address, document["username"], Secret(document["password"]))


@pytest.mark.other_versions
@pytest.mark.slow
def test_change_from_the_shared_role_to_a_role_per_tenant(capsys, deployment, settings):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    one, two = deployment.tenants
    with deployment.login().connect(one) as running:
        running.execute("CREATE TABLE shop (id bigserial)")
        prefix = f"{deployment.name}/tenant/"
        settings.DEPLOYTOOLS |= {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
        plan = run(capsys, "create_tenant_dbs", "--plan")
        assert f"  - create secret {prefix}{one} with a new password for role {one}" in plan.out.splitlines()
        assert plan.out.splitlines()[3] == "2 tenants: 2 to change"
        assert f"  - transfer ownership of 2 objects in {one} from {deployment.role} to {one}" in plan.out.splitlines()
        result = run(capsys, "create_tenant_dbs", "--noinput")
        assert result.code == 0, result
        note = f"· for each of 2 tenants ({one}, {two}): {deployment.role} can still connect to TENANT. Restart"
        assert note in result.out
        running.execute("INSERT INTO shop DEFAULT VALUES")
    verify_tenant(own_login(deployment, one), one)
    assert_login_denied(own_login(deployment, two), one)
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    assert run(capsys, "create_tenant_dbs", "--check", "--finish").code == 1
    assert run(capsys, "create_tenant_dbs", "--finish", "--noinput").code == 0
    with pytest.raises(ConnectionFailed) as caught:
        deployment.login().connect(one)
    assert caught.value.kind is ConnectionFailure.NO_CONNECT
    verified = run(capsys, "create_tenant_dbs", "--verify", "--finish")
    assert (verified.code, verified.out.count("✓")) == (0, 1)


@pytest.mark.slow
def test_tenant_secrets_have_the_arn_of_the_master_secret(capsys, per_tenant):
    master = per_tenant.postgres.master
    document = {"username": master.user, "password": master.password.reveal()}
    name = f"{per_tenant.name}/master"
    arn = per_tenant.client.create_secret(Name=name, SecretString=json.dumps(document))["ARN"]
    assert run(capsys, "create_tenant_dbs", "--noinput", "--master-secret", arn).code == 0
    secret = per_tenant.client.get_secret_value(SecretId=f"{per_tenant.name}/tenant/{per_tenant.tenants[0]}")
    assert json.loads(secret["SecretString"])["masterarn"] == arn


@pytest.mark.slow
def test_report_is_kept_if_the_notes_cannot_be_read(capsys, deployment, monkeypatch):
    def fail(self, **options):
        raise DatabaseError("Could not read who can connect: gone", hint="Run it again.")

    monkeypatch.setattr("deploytools.tenants.provisioning.TenantProvisioner.notes", fail)
    result = run(capsys, "create_tenant_dbs", "--noinput")
    note = "· Cannot read which other roles can connect: Could not read who can connect: gone"
    assert (result.out.splitlines()[-2], result.code) == (note, 2)
    assert result.out.splitlines()[-1].startswith("2 tenants: 2 verified; ")


@pytest.mark.slow
@pytest.mark.other_versions
def test_verify_changes_nothing(capsys, deployment):
    result = run(capsys, "create_tenant_dbs", "--verify")
    assert (result.code, deployment.postgres.snapshot(deployment.tenants)) == (1, [])
    assert result.err.splitlines()[-2:] == [
        f"Error: The shared role is incomplete. Remaining step: create role {deployment.role} (LOGIN only; "
        "password from the secret).",
        "Hint: Run: python manage.py create_tenant_dbs",
    ]
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    assert run(capsys, "create_tenant_dbs", "--verify").code == 0
    one, two = deployment.tenants
    with deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(one)))
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(two)))
    before = deployment.postgres.snapshot(deployment.tenants)
    result = run(capsys, "create_tenant_dbs", "--verify")
    assert result.code == 2
    assert [line for line in result.out.splitlines() if line.startswith("✗")] == [
        f"✗ {one}: {one} is incomplete. Remaining step: revoke CONNECT and TEMPORARY on {one} from PUBLIC.",
        f"✗ {two}: {two} is incomplete. Remaining step: create database {two} with connections disabled.",
    ]
    assert deployment.postgres.snapshot(deployment.tenants) == before


@pytest.mark.slow
@pytest.mark.other_versions
def test_other_roles_that_can_connect_are_reported(capsys, deployment):
    run(capsys, "create_tenant_dbs", "--noinput")
    reader = deployment.postgres.make_role(f"{deployment.name}_reader", Secret("x" * 40))
    with deployment.postgres.admin() as admin:
        names = map(sql.Identifier, (deployment.tenants[0], reader.user))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))
    result = run(capsys, "create_tenant_dbs", "--verify")
    assert (f"· Other roles that can connect to {deployment.tenants[0]}: {reader.user}" in result.out, result.code) == (
        True,
        0,
    )


@pytest.mark.parametrize("before", [None, "something else that was longer\n" * 1000])
def test_script_is_private_and_needs_no_server(capsys, deployment, tmp_path, before):
    file = tmp_path / "tenants.sql"
    if before:
        file.write_text(before)
        file.chmod(0o644)
    deployment.put(host="unreachable.example.org", master_password=None)
    result = run(capsys, "create_tenant_dbs", "--sql", str(file))
    assert (result.out, result.code) == ("", 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert text.startswith("-- Roles and databases of the tenants")
    assert text.endswith("--verify\n")
    assert deployment.document()["password"] not in text
    on_stdout = run(capsys, "create_tenant_dbs", "--sql")
    assert (on_stdout.out.count("CREATE DATABASE"), on_stdout.err) == (2, "")


def test_path_of_the_script_is_reported(capsys, deployment, tmp_path):
    file = tmp_path / "tenants.sql"
    result = run(capsys, "create_tenant_dbs", "--sql", str(file))
    sentence = f"Wrote {file}. Run it as the master user: psql … --file {file}. Then delete it.\n"
    assert (result.out, result.err, result.code) == ("", sentence, 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_unwritable_script_file(capsys, deployment, tmp_path):
    result = run(capsys, "create_tenant_dbs", "--sql", str(tmp_path / "no" / "such.sql"))
    assert (result.err.splitlines()[0], result.code) == (
        f"Error: Cannot write {tmp_path}/no/such.sql: No such file or directory.",
        2,
    )


def test_script_with_a_role_per_tenant_creates_the_secrets_first(capsys, per_tenant):
    result = run(capsys, "create_tenant_dbs", "--sql", "--noinput")
    assert (result.out.count("CREATE ROLE"), result.err.count("create secret"), result.code) == (2, 2, 0)
    passwords = [own_login(per_tenant, tenant).password.reveal() for tenant in per_tenant.tenants]
    assert [password for password in passwords if password in result.out + result.err] == []
    assert run(capsys, "create_tenant_dbs", "--sql").err == ""


@pytest.mark.parametrize("is_shared", [True, False])
def test_no_script_is_written_during_a_rotation(capsys, per_tenant, settings, tmp_path, is_shared):
    secret = per_tenant.name if is_shared else f"{per_tenant.name}/tenant/{per_tenant.tenants[0]}"
    assert run(capsys, "create_tenant_dbs", "--sql", "--noinput").code == 0
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "shared" if is_shared else "role-per-tenant"}
    value = per_tenant.client.get_secret_value(SecretId=secret)["SecretString"]
    per_tenant.client.put_secret_value(SecretId=secret, SecretString=value, VersionStages=["AWSPENDING"])
    file = tmp_path / "tenants.sql"
    result = run(capsys, "create_tenant_dbs", "--sql", str(file))
    assert (result.out, result.code, file.exists()) == ("", RotationInProgress.exit_code, False)
    assert result.err == (
        f"Error: A rotation of {secret} is in progress; its password was not used.\n"
        "Hint: Run the command again when the rotation has finished.\n"
    )


@pytest.mark.parametrize("look", ["--plan", "--check", "--verify"])
def test_read_only_options_write_no_script_and_no_secret(capsys, per_tenant, tmp_path, look):
    file = tmp_path / "tenants.sql"
    result = run(capsys, "create_tenant_dbs", "--sql", str(file), look, "--noinput")
    assert (result.out, result.code, file.exists()) == ("", 2, False)
    assert result.err.startswith(f"Error: --sql cannot be combined with {look}.\n")
    names = [entry["Name"] for entry in per_tenant.client.list_secrets()["SecretList"]]
    assert not [name for name in names if name.startswith(f"{per_tenant.name}/tenant/")]


@pytest.mark.slow
def test_json_is_one_document_on_stdout(capsys, deployment, tmp_path):
    one, two = deployment.tenants
    with deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    plan = json.loads(run(capsys, "create_tenant_dbs", "--plan", "--format", "json").out)
    assert [(entry["tenant"], entry["status"]) for entry in plan["plan"]] == [(one, "refused"), (two, "to create")]
    assert (plan["tenants"], plan["plan"][0]["steps"], plan["counts"]) == ([], [], {"refused": 1, "to create": 1})
    assert "--adopt" in plan["plan"][0]["hint"]
    assert plan["role_steps"][1] == {
        "action": "grant_to_master",
        "object": deployment.role,
        "role": deployment.role,
        "description": f"grant {deployment.role} to the master user (required to transfer ownership)",
    }
    assert [(step["action"], step["object"], step["role"]) for step in plan["plan"][1]["steps"]] == [
        ("create_database", two, None),
        ("revoke_public_connect", two, "postgres"),
        ("set_tenant_comment", two, "postgres"),
        ("change_owner", two, deployment.role),
        ("allow_connections", two, deployment.role),
    ]
    result = run(capsys, "create_tenant_dbs", "--noinput", "--format", "json")
    document = json.loads(result.out)
    first, second = document["tenants"]
    assert (result.code, document["version"]) == (1, 1)
    assert (first["status"], document["counts"]) == ("refused", {"refused": 1, "verified": 1})
    assert first["error"].startswith(f"{one} exists but is not managed by deploytools")
    assert "--adopt" in first["hint"]
    assert (second["tenant"], second["status"], len(second["done"]), second["error"]) == (two, "verified", 5, None)
    file = tmp_path / "report.json"
    again = run(capsys, "create_tenant_dbs", "--noinput", "--format", "json", "--output", str(file))
    assert (again.out, json.loads(file.read_text())["tenants"][1]["done"]) == ("", [])


@pytest.mark.slow
def test_database_options_are_set_and_changed(capsys, deployment, settings):
    one, two = deployment.tenants
    settings.DEPLOYTOOLS |= {
        "TENANTS": [one, {"NAME": two, "CONNECTION_LIMIT": 7, "STATEMENT_TIMEOUT": 5000}],
        "TENANT_OPTIONS": {"STATEMENT_TIMEOUT": "30s", "IDLE_IN_TRANSACTION_SESSION_TIMEOUT": "2min"},
    }
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    for tenant, timeout in ((one, "30s"), (two, "5s")):
        with deployment.login().connect(tenant) as connection:
            shown = [connection.execute(f"SHOW {name}".encode()).fetchone()[0] for name in (
                "statement_timeout", "idle_in_transaction_session_timeout", "client_encoding", "timezone")]  # fmt: skip
        assert shown == [timeout, "2min", "UTF8", "UTC"]
    assert [row[3] for row in deployment.postgres.snapshot([one, two])] == [-1, 7]
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    settings.DEPLOYTOOLS |= {"TENANTS": [{"NAME": one, "CONNECTION_LIMIT": 9}, {"NAME": two, "CONNECTION_LIMIT": -1}]}
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert [line.strip() for line in result.out.splitlines() if line.startswith("  - ")] == [
        f"- set the connection limit of {one} to 9",
        f"- set statement_timeout of {two} to 30000 ms",
        f"- remove the connection limit of {two}",
    ]
    assert [row[3] for row in deployment.postgres.snapshot([one, two])] == [9, -1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use_tz", "of_database", "expected"),
    [(True, None, "UTC"), (True, "Asia/Tokyo", "Asia/Tokyo"), (False, None, "Europe/Berlin")],
)
def test_time_zone_of_the_role_is_that_of_django(
    capsys, deployment, settings, monkeypatch, use_tz, of_database, expected
):
    monkeypatch.setitem(connections["default"].settings_dict, "TIME_ZONE", of_database)
    settings.TIME_ZONE = "Europe/Berlin"
    settings.USE_TZ = use_tz
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with deployment.login().connect(deployment.tenants[0]) as session:
        assert session.execute("SHOW timezone").fetchone() == (expected,)
    assert re.search(rf"timezone\W+TO '*{expected}'", run(capsys, "create_tenant_dbs", "--sql").out)


@pytest.mark.slow
def test_progress_bar_on_a_terminal(capsys, deployment, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    run(capsys, "create_tenant_dbs", "--noinput")
    frames = screen.getvalue().split("\r")
    assert [frame.split()[1] for frame in frames[1:]] == ["1/2", "2/2"]
    assert frames[-1].startswith("█" * 30)
    monkeypatch.undo()


LOOPBACK = ServerIdentity("127.0.0.1", has_rds_superuser=True, system_identifier="7000000000000000001")
RDS = ServerIdentity("10.0.1.5", has_rds_superuser=True, system_identifier=None)
LAPTOP = ServerIdentity("127.0.0.1", has_rds_superuser=False, system_identifier="7000000000000000002")


@pytest.mark.parametrize(
    ("identity", "sslmode", "expected", "why"),
    [
        (LAPTOP, "verify-full", None, None),
        (RDS, "require", None, None),
        (RDS, "verify-ca", None, None),
        (
            LAPTOP,
            "require",
            None,
            "expected server: it has no role rds_superuser, so it is not RDS and it runs on this machine. Nothing",
        ),
        (LOOPBACK, "require", None, "expected server: it runs on this machine. Nothing was changed."),
        (LOOPBACK, "require", "7000000000000000001", None),
        (LAPTOP, "verify-full", "7", "its system_identifier is 7000000000000000002, expected 7"),
        (RDS, "verify-full", "7", "its system_identifier is unknown, expected 7"),
    ],
)
def test_expected_server(identity, sslmode, expected, why):
    address = ServerAddress("db.example.org", 5432, "127.0.0.1", sslmode)
    if why is None:
        require_expected_server(identity, address, expected)
        return
    with pytest.raises(Refused) as caught:
        require_expected_server(identity, address, expected)
    assert why in str(caught.value)


@pytest.mark.slow
def test_unidentified_server_is_not_changed(capsys, deployment, settings):
    """A local PostgreSQL that listens on the port of the guide's tunnel."""
    settings.DEPLOYTOOLS |= {"SSLMODE": "require", "SSLROOTCERT": ""}
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert "Error: Cannot verify with sslmode=require that" in result.err
    assert (result.code, deployment.postgres.snapshot(deployment.tenants)) == (1, [])
    assert run(capsys, "create_tenant_dbs", "--plan").code == 0
    with session(deployment.postgres.master) as connection:
        identifier = read_identity(connection).system_identifier
    assert identifier is not None
    assert run(capsys, "create_tenant_dbs", "--noinput", "--expect-system-identifier", "1").code == 1
    assert run(capsys, "create_tenant_dbs", "--noinput", "--expect-system-identifier", identifier).code == 0


PACED = """
import sys
import manage

class Paced:
    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)

    def write(self, text):
        sys.__stderr__.write(text)
        sys.__stderr__.flush()
        sys.stdin.readline()

sys.stderr = Paced()
manage.main()
"""
"""manage.py, but each write to stderr waits for a line on stdin: it is killed just where the test says."""


@pytest.mark.slow
def test_next_run_converges_after_kill_9_at_any_step(capsys, per_tenant):
    """kill -9 of the real process after three steps, again and again; then a run to the end."""
    environment = {
        **os.environ,
        **per_tenant.environment,
        "ISOLATION": "role-per-tenant",
        "TENANT_SECRET_PREFIX": f"{per_tenant.name}/tenant/",
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings",
    }
    command = [sys.executable, "-c", PACED, "create_tenant_dbs", "--noinput", "--verbosity", "2"]
    steps: list[str] = []
    while not steps or steps[-1]:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write("\n\n")
            process.stdin.flush()
            steps.append([process.stderr.readline() for _ in range(3)][-1])
            process.kill()
    assert len(steps) > 4, steps
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.code == 0, result
    assert run(capsys, "create_tenant_dbs", "--check").code == 0


@pytest.mark.parametrize("command", ["create_tenant_dbs", "migrate_tenants"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "0.0001", "soon"])
def test_wait_for_lock_must_be_a_positive_number_of_seconds(capsys, deployment, command, value):
    result = run(capsys, command, "--noinput", f"--wait-for-lock={value}")
    assert (result.out, result.code) == ("", 2)
    assert f"argument --wait-for-lock: invalid positive_seconds value: '{value}'" in result.err
    assert deployment.postgres.snapshot(deployment.tenants) == []


@pytest.mark.parametrize("option", ["--lock-timeout", "--statement-timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0.0001"])
def test_timeouts_of_migrate_tenants_must_be_a_number_of_seconds(capsys, option, value):
    """0 is allowed: no limit."""
    result = run(capsys, "migrate_tenants", "--noinput", f"{option}={value}")
    assert (result.out, result.code) == ("", 2)
    assert f"argument {option}: invalid seconds value: '{value}'" in result.err


@pytest.mark.slow
def test_tenant_option_limits_every_mode(capsys, per_tenant, tmp_path):
    deployment = per_tenant
    one, two = deployment.tenants
    unknown = run(capsys, "create_tenant_dbs", "--tenant", "unknown")
    assert unknown.err == f'Error: DEPLOYTOOLS["TENANTS"] has no tenant unknown.\nHint: Use one of: {one}, {two}.\n'
    script = tmp_path / "tenants.sql"
    planned = run(capsys, "create_tenant_dbs", "--plan", "--tenant", two)
    assert (two in planned.out, one in planned.out) == (True, False)
    assert run(capsys, "create_tenant_dbs", "--check", "--tenant", two).code == 1
    assert run(capsys, "create_tenant_dbs", "--tenant", two, "--noinput").code == 0
    assert [row[0] for row in deployment.postgres.snapshot(deployment.tenants)] == [two]
    assert run(capsys, "create_tenant_dbs", "--check", "--tenant", two).code == 0
    assert run(capsys, "create_tenant_dbs", "--check").code == 1
    assert one not in run(capsys, "create_tenant_dbs", "--verify", "--tenant", two).out
    assert run(capsys, "create_tenant_dbs", "--tenant", two, "--sql", str(script), "--noinput").code == 0
    assert [f"Database {name}" in script.read_text() for name in (one, two)] == [False, True]
    refused = run(capsys, "create_tenant_dbs", "--tenant", two, "--prune-templates")
    assert refused.err.startswith("Error: --prune-templates cannot be combined with --tenant.")
    unmanaged = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one))
    with deployment.postgres.master.connect("postgres") as master:
        master.execute(unmanaged)
    assert run(capsys, "create_tenant_dbs", "--adopt", "--tenant", two, "--noinput").code == 0
    assert deployment.postgres.snapshot([one])[0][1] == "postgres"


@pytest.mark.slow
def test_role_of_a_tenant_that_is_not_selected_is_still_another_tenants(capsys, per_tenant):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    one, two = per_tenant.tenants
    with per_tenant.postgres.admin() as admin:
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (one, two))))
    result = run(capsys, "create_tenant_dbs", "--verify", "--tenant", one)
    assert (result.code, f"{two} can connect to {one}, directly or through a membership." in result.out) == (2, True)
