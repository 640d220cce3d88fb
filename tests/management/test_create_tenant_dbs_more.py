"""`create_tenant_dbs`: a role per tenant, the proof alone, the script, JSON, progress, and whose server it is."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import sql

from deploytools.databases.identity import ServerIdentity, read_identity, require_meant
from deploytools.databases.proof import prove, require_refused
from deploytools.databases.server import Login, ServerAddress, session
from deploytools.errors import ConnectionFailed, ConnectionFailure, DatabaseError, Refused, RotationUnderWay
from deploytools.secret.value import Secret
from tests.management.runner import run

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
def test_a_role_per_tenant_from_the_guides_shared_role(capsys, deployment, settings):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    one, two = deployment.tenants
    with deployment.login().connect(one) as running:
        running.execute("CREATE TABLE shop (id bigserial)")
        prefix = f"{deployment.name}/tenant/"
        settings.DEPLOYTOOLS |= {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
        plan = run(capsys, "create_tenant_dbs", "--plan")
        assert f"  - create secret {prefix}{one} with a new password for role {one}" in plan.out.splitlines()
        assert f"  - hand 2 objects in {one} over from {deployment.role} to {one}, one by one" in plan.out.splitlines()
        result = run(capsys, "create_tenant_dbs", "--noinput")
        assert result.code == 0, result
        assert f"· {deployment.role} still reaches {one}: restart" in result.out
        running.execute("INSERT INTO shop DEFAULT VALUES")
    prove(own_login(deployment, one), one)
    require_refused(own_login(deployment, two), one)
    assert run(capsys, "create_tenant_dbs", "--check").code == 0
    assert run(capsys, "create_tenant_dbs", "--check", "--finish").code == 1
    assert run(capsys, "create_tenant_dbs", "--finish", "--noinput").code == 0
    with pytest.raises(ConnectionFailed) as caught:
        deployment.login().connect(one)
    assert caught.value.kind is ConnectionFailure.NO_CONNECT
    verified = run(capsys, "create_tenant_dbs", "--verify", "--finish")
    assert (verified.code, verified.out.count("✓")) == (0, 2)


def test_the_master_secrets_arn_is_in_the_tenants_for_rotation(capsys, per_tenant):
    master = per_tenant.postgres.master
    document = {"username": master.user, "password": master.password.reveal()}
    name = f"{per_tenant.name}/master"
    arn = per_tenant.client.create_secret(Name=name, SecretString=json.dumps(document))["ARN"]
    assert run(capsys, "create_tenant_dbs", "--noinput", "--master-secret", arn).code == 0
    secret = per_tenant.client.get_secret_value(SecretId=f"{per_tenant.name}/tenant/{per_tenant.tenants[0]}")
    assert json.loads(secret["SecretString"])["masterarn"] == arn


def test_what_else_cannot_be_read_does_not_lose_the_report(capsys, deployment, monkeypatch):
    def fail(self):
        raise DatabaseError("PostgreSQL refused to show who may connect: gone", hint="Run it again.")

    monkeypatch.setattr("deploytools.databases.tenancy.Tenancy.remarks", fail)
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert (result.out.count("✓"), result.code) == (2, 2)
    remark = "· Who else may connect is not known: PostgreSQL refused to show who may connect: gone"
    assert result.out.splitlines()[-1] == remark


@pytest.mark.other_versions
def test_verify_looks_and_changes_nothing(capsys, deployment):
    result = run(capsys, "create_tenant_dbs", "--verify")
    assert (result.code, deployment.postgres.snapshot(deployment.tenants)) == (1, [])
    assert result.err.splitlines()[-2:] == [
        f"Error: The shared role is not as it must be; left to do: create role {deployment.role} (LOGIN, nothing else; "
        "password as in the secret).",
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
        f"✗ {one}: {one} is not as it must be; left to do: revoke CONNECT and TEMPORARY on {one} from PUBLIC.",
        f"✗ {two}: {two} is not as it must be; left to do: create database {two}, closed to connections.",
    ]
    assert deployment.postgres.snapshot(deployment.tenants) == before


@pytest.mark.other_versions
def test_others_that_reach_a_tenant_are_told(capsys, deployment):
    run(capsys, "create_tenant_dbs", "--noinput")
    reader = deployment.postgres.make_role(f"{deployment.name}_reader", Secret("x" * 40))
    with deployment.postgres.admin() as admin:
        names = map(sql.Identifier, (deployment.tenants[0], reader.user))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))
    result = run(capsys, "create_tenant_dbs", "--verify")
    assert (f"· {reader.user} may connect to {deployment.tenants[0]}, too" in result.out, result.code) == (True, 0)


@pytest.mark.parametrize("before", [None, "something else that was longer\n" * 1000])
def test_the_script_is_for_its_owner_only_and_needs_no_server(capsys, deployment, tmp_path, before):
    file = tmp_path / "tenants.sql"
    if before:
        file.write_text(before)
        file.chmod(0o644)
    deployment.put(host="unreachable.example.org", master_password=None)
    result = run(capsys, "create_tenant_dbs", "--sql", str(file))
    assert (result.out, result.code) == ("", 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert text.startswith("-- The tenants' roles and databases")
    assert text.endswith("--verify\n")
    assert deployment.document()["password"] not in text
    on_stdout = run(capsys, "create_tenant_dbs", "--sql")
    assert (on_stdout.out.count("CREATE DATABASE"), on_stdout.err) == (2, "")


@pytest.mark.parametrize(
    ("options", "use", "needs_psql"),
    [
        ((), "psql … --file {}", True),
        (("--sql-for", "psql"), "psql … --file {}", True),
        (
            ("--sql-for", "editor"),
            "open {} in the query editor, connected to the database postgres, and run it one statement at a time",
            False,
        ),
    ],
)
def test_the_script_is_for_psql_or_for_a_query_editor(capsys, deployment, tmp_path, options, use, needs_psql):
    file = tmp_path / "tenants.sql"
    result = run(capsys, "create_tenant_dbs", "--sql", str(file), *options)
    sentence = f"{file} written. As the master user: {use.format(file)}; then delete it.\n"
    assert (result.out, result.err, result.code) == ("", sentence, 0)
    assert ("\\gexec" in file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (needs_psql, 0o600)


def test_a_script_that_cannot_be_written(capsys, deployment, tmp_path):
    result = run(capsys, "create_tenant_dbs", "--sql", str(tmp_path / "no" / "such.sql"))
    assert (result.err.splitlines()[0], result.code) == (
        f"Error: {tmp_path}/no/such.sql cannot be written: No such file or directory.",
        2,
    )


def test_the_script_with_a_role_per_tenant_makes_the_secrets_first(capsys, per_tenant):
    result = run(capsys, "create_tenant_dbs", "--sql", "--noinput")
    assert (result.out.count("CREATE ROLE"), result.err.count("create secret"), result.code) == (2, 2, 0)
    passwords = [own_login(per_tenant, tenant).password.reveal() for tenant in per_tenant.tenants]
    assert [password for password in passwords if password in result.out + result.err] == []
    assert run(capsys, "create_tenant_dbs", "--sql").err == ""


@pytest.mark.parametrize("is_shared", [True, False])
def test_while_a_rotation_is_under_way_no_script_is_written(capsys, per_tenant, settings, tmp_path, is_shared):
    secret = per_tenant.name if is_shared else f"{per_tenant.name}/tenant/{per_tenant.tenants[0]}"
    assert run(capsys, "create_tenant_dbs", "--sql", "--noinput").code == 0
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "shared" if is_shared else "role-per-tenant"}
    value = per_tenant.client.get_secret_value(SecretId=secret)["SecretString"]
    per_tenant.client.put_secret_value(SecretId=secret, SecretString=value, VersionStages=["AWSPENDING"])
    file = tmp_path / "tenants.sql"
    result = run(capsys, "create_tenant_dbs", "--sql", str(file))
    assert (result.out, result.code, file.exists()) == ("", RotationUnderWay.exit_code, False)
    assert result.err == (
        f"Error: A rotation of {secret} is under way: the password was left as it is.\n"
        "Hint: Run it again when the rotation has finished.\n"
    )


@pytest.mark.parametrize("look", ["--plan", "--check", "--verify"])
def test_who_only_looks_gets_no_script_and_no_secret(capsys, per_tenant, tmp_path, look):
    file = tmp_path / "tenants.sql"
    result = run(capsys, "create_tenant_dbs", "--sql", str(file), look, "--noinput")
    assert (result.out, result.code, file.exists()) == ("", 2, False)
    assert result.err == (
        "Error: --sql writes a script (and missing tenants' secrets); --plan, --check and --verify only look.\n"
        "Hint: Leave --sql out to look.\n"
    )
    names = [entry["Name"] for entry in per_tenant.client.list_secrets()["SecretList"]]
    assert not [name for name in names if name.startswith(f"{per_tenant.name}/tenant/")]


def test_json_is_one_document_and_the_rest_is_on_stderr(capsys, deployment, tmp_path):
    one, two = deployment.tenants
    with deployment.postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(one)))
    plan = json.loads(run(capsys, "create_tenant_dbs", "--plan", "--format", "json").out)
    assert [tenant["tenant"] for tenant in plan["plan"]] == [one, two]
    assert (plan["tenants"], plan["plan"][0]["steps"], len(plan["plan"][1]["steps"])) == ([], [], 5)
    result = run(capsys, "create_tenant_dbs", "--noinput", "--format", "json")
    document = json.loads(result.out)
    first, second = document["tenants"]
    assert (result.code, document["version"]) == (1, 1)
    assert first["status"] == "failed"
    assert first["error"].startswith(f"{one} exists and was not made by these commands")
    assert "--adopt" in first["hint"]
    assert (second["tenant"], second["status"], len(second["done"]), second["error"]) == (two, "proved", 5, None)
    file = tmp_path / "report.json"
    again = run(capsys, "create_tenant_dbs", "--noinput", "--format", "json", "--output", str(file))
    assert (again.out, json.loads(file.read_text())["tenants"][1]["done"]) == ("", [])


def test_options_of_a_database_are_set_read_back_and_changed(capsys, deployment, settings):
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
        f"- limit {one} to 9 connections",
        f"- set statement_timeout of {two} to 30000 ms",
        f"- unlimit {two}",
    ]
    assert [row[3] for row in deployment.postgres.snapshot([one, two])] == [9, -1]


def test_a_bar_on_a_terminal_and_steps_where_they_are_asked_for(capsys, deployment, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

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
            "(it has no role rds_superuser, so that it is not RDS and it answers on this machine)",
        ),
        (LOOPBACK, "require", None, "(it answers on this machine)"),
        (LOOPBACK, "require", "7000000000000000001", None),
        (LAPTOP, "verify-full", "7", "its system_identifier is 7000000000000000002, not 7"),
        (RDS, "verify-full", "7", "its system_identifier is not to be read, not 7"),
    ],
)
def test_whose_server_it_is(identity, sslmode, expected, why):
    address = ServerAddress("db.example.org", 5432, "127.0.0.1", sslmode)
    if why is None:
        require_meant(identity, address, expected)
        return
    with pytest.raises(Refused) as caught:
        require_meant(identity, address, expected)
    assert why in str(caught.value)


def test_a_server_that_nothing_identifies_gets_no_tenants(capsys, deployment, settings):
    """The guide's tunnel on port 5432, and a PostgreSQL of one's own that listens there."""
    settings.DEPLOYTOOLS |= {"SSLMODE": "require", "SSLROOTCERT": ""}
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert "Error: With sslmode=require nothing shows that" in result.err
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
def test_killed_by_the_system_at_any_moment_the_next_run_converges(capsys, per_tenant):
    """kill -9 of the real process after three steps, again and again; then a run to the end."""
    environment = {
        **os.environ,
        **per_tenant.environment,
        "ISOLATION": "role-per-tenant",
        "TENANT_SECRET_PREFIX": f"{per_tenant.name}/tenant/",
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings",
    }
    command = [sys.executable, "-c", PACED, "create_tenant_dbs", "--noinput", "--verbosity", "2"]
    told: list[str] = []
    while not told or told[-1]:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write("\n\n")
            process.stdin.flush()
            told.append([process.stderr.readline() for _ in range(3)][-1])
            process.kill()
    assert len(told) > 4, told
    result = run(capsys, "create_tenant_dbs", "--noinput")
    assert result.code == 0, result
    assert run(capsys, "create_tenant_dbs", "--check").code == 0


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "0.0001", "soon"])
def test_a_lock_timeout_that_is_none_is_a_usage_error(capsys, deployment, value):
    result = run(capsys, "create_tenant_dbs", "--noinput", f"--lock-timeout={value}")
    assert (result.out, result.code) == ("", 2)
    assert f"argument --lock-timeout: invalid some_seconds value: '{value}'" in result.err
    assert deployment.postgres.snapshot(deployment.tenants) == []


@pytest.mark.parametrize("option", ["--wait", "--lock-timeout", "--statement-timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0.0001"])
def test_so_it_is_to_migrate_tenants_where_0_means_for_ever(capsys, option, value):
    result = run(capsys, "migrate_tenants", "--noinput", f"{option}={value}")
    assert (result.out, result.code) == ("", 2)
    assert f"argument {option}: invalid seconds value: '{value}'" in result.err
