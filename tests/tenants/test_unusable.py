"""A tenant that the application cannot use is reported by the plan, --verify, check_rds and verify_deploy."""

from __future__ import annotations

import re

import pytest
from psycopg import sql

from tests.management.runner import run
from tests.tenants.sites import PASSWORD

#: What is wrong, as statements of the superuser or the master user in the tenant's database.
RESTORE = "CREATE TABLE note (id bigserial PRIMARY KEY)"
GIVE_SCHEMA = "ALTER SCHEMA public OWNER TO CURRENT_USER; REVOKE ALL ON SCHEMA public FROM PUBLIC"
CASES = {
    "restored by the master": ("postgres", RESTORE, "{role} has no privilege on 2 objects in {one}, for example"),
    "table of a third role": (
        "rdsadmin",
        "CREATE TABLE note (id integer); ALTER TABLE note OWNER TO {third}",
        "{role} has no privilege on 1 object in {one}, for example table public.note (owner {third}).",
    ),
    "schema of a superuser": (
        "rdsadmin",
        f"{GIVE_SCHEMA}; GRANT USAGE ON SCHEMA public TO {{role}}",
        "{role} cannot create tables in {one}: it does not have CREATE on schema public (owner rdsadmin).",
    ),
    "missing USAGE": (
        "rdsadmin",
        GIVE_SCHEMA,
        "{role} cannot create tables in {one}: it does not have USAGE and CREATE on schema public (owner rdsadmin).",
    ),
    "no schema": (
        "rdsadmin",
        "DROP SCHEMA public",
        "{role} cannot create tables in {one}: schema public does not exist.",
    ),
    "NOINHERIT": (
        "rdsadmin",
        "ALTER ROLE {role} NOINHERIT",
        "{role} cannot create tables in {one}: it does not have CREATE on schema public (owner pg_database_owner), "
        "because it has NOINHERIT.",
    ),
}


@pytest.mark.slow
@pytest.mark.other_versions
@pytest.mark.parametrize("case", CASES)
def test_every_command_reports_it_and_the_hint_fixes_it(capsys, deployment, case):
    who, statements, sentence = CASES[case]
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    postgres, role, (one, _) = deployment.postgres, deployment.role, deployment.tenants
    third = postgres.make_role(f"{role}_third", PASSWORD).user
    login = postgres.master if who == "postgres" else postgres.superuser
    names = {"role": sql.Identifier(role), "third": sql.Identifier(third)}
    with login.connect(one) as inside:
        inside.execute(sql.SQL(statements).format(**names))
    if case == "NOINHERIT" and not is_affected(deployment, one):
        assert run(capsys, "check_rds").code == 0
        return
    sentence = sentence.format(role=role, one=one, third=third)
    anonymous = sentence.replace(role, "the application role", 1)
    found = {
        "plan": run(capsys, "create_tenant_dbs", "--plan"),
        "verify": run(capsys, "create_tenant_dbs", "--verify"),
        "check_rds": run(capsys, "check_rds"),
        "verify_deploy": run(capsys, "verify_deploy", "--only", "databases.table-privileges"),
    }
    for command, result in found.items():
        text = " ".join(f"{result.out} {result.err}".split())
        if case == "NOINHERIT" and command in ("plan", "verify"):
            assert f"Role {role} has NOINHERIT" in text
        else:
            assert (sentence if command in ("plan", "verify") else anonymous) in text, command
        assert (result.code > 0) is (command != "plan" or case == "NOINHERIT"), command
    text = " ".join(found["check_rds"].out.split())
    if fix := re.search(r"Run in \w+, as .+?: ((CREATE|GRANT|ALTER) [\w, ]+)", text):
        statement = fix[1].strip()
        with postgres.admin(one) as admin:
            admin.execute(re.sub(r" \(.*", "", statement).encode())
    elif who == "postgres":
        assert run(capsys, "create_tenant_dbs", "--adopt", "--noinput").code == 0
    else:
        with postgres.admin(one) as admin:
            admin.execute(sql.SQL("ALTER TABLE note OWNER TO {role}").format(**names))
    assert run(capsys, "check_rds").code == 0
    assert run(capsys, "create_tenant_dbs", "--verify").code == 0


def is_affected(deployment, database):
    """Before 15, PUBLIC can create tables; from 16 on, the owner is a member with INHERIT."""
    with deployment.login().connect(database) as application:
        (row,) = application.execute("SELECT has_schema_privilege('public', 'CREATE') AS can_create").fetchall()
    return not row.can_create


@pytest.mark.slow
def test_adoption_is_refused_before_if_the_schema_belongs_to_a_superuser(capsys, deployment):
    postgres, role, (one, _) = deployment.postgres, deployment.role, deployment.tenants
    old = postgres.make_role(f"{role}_old", PASSWORD).user
    names = {"old": sql.Identifier(old), "one": sql.Identifier(one)}
    with postgres.admin() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {one} OWNER {old}").format(**names))
        admin.execute(sql.SQL("GRANT {old} TO postgres").format(**names))
    with postgres.admin(one) as admin:
        admin.execute(GIVE_SCHEMA.encode())
    before = postgres.snapshot([one])
    result = run(capsys, "create_tenant_dbs", "--adopt", "--noinput")
    assert (
        f"✗ {one}: {role} cannot create tables in {one}: it does not have USAGE and CREATE on schema public "
        "(owner rdsadmin). Nothing was changed.\n"
        f"  Hint: Run in {one}, as rdsadmin: GRANT USAGE, CREATE ON SCHEMA public TO {role}\n"
    ) in result.out
    assert postgres.snapshot([one]) == before
    with postgres.admin(one) as admin:
        admin.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(sql.Identifier(role)))
    assert run(capsys, "create_tenant_dbs", "--adopt", "--noinput").code == 0
