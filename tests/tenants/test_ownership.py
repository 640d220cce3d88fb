"""Every kind of object that has an owner is transferred, or reported if it cannot be, according to pg_shdepend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from deploytools.postgres.connections import locked_session, session
from deploytools.tenants.database_operations import (
    AllowOwnerConnections,
    ChangeOwner,
    CloneTemplate,
    ReassignObjects,
    RunMigrations,
)
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.migration_marker import IN_PROGRESS_SUFFIX
from deploytools.tenants.operations import Operation
from deploytools.tenants.state import (
    INCOMPLETE_LIMIT,
    TEMPLATE_PREFIX,
    TENANT_COMMENT,
    former_owner_marker,
    reassign_marker,
)
from tests.postgres_server import Postgres
from tests.tenants.sites import PASSWORD, Killed, Listener, SeparateSite, errors, make_separate_site

EVERY_KIND = """
    CREATE SCHEMA shelf;
    CREATE TABLE shop (id bigserial PRIMARY KEY, a integer, b integer);
    CREATE TABLE log (at date) PARTITION BY RANGE (at);
    CREATE VIEW shops AS SELECT id FROM shop;
    CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM shop;
    CREATE SEQUENCE shelf.numbers;
    CREATE STATISTICS both_of (dependencies) ON a, b FROM shop;
    CREATE TYPE pair AS (a integer, b integer);
    CREATE TYPE span AS RANGE (subtype = integer);
    CREATE DOMAIN price AS numeric;
    CREATE FUNCTION same(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
    CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE either(IN a integer, OUT b integer) LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE either(IN a integer, IN b integer) LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE "Odd, one"(IN a "char", INOUT b pair, VARIADIC c numeric(3)[]) LANGUAGE sql AS 'SELECT b';
    CREATE AGGREGATE total(integer) (sfunc = int4pl, stype = integer);
    CREATE AGGREGATE lines(*) (sfunc = same, stype = integer);
    CREATE FUNCTION first(state float8[], at float8) RETURNS float8 LANGUAGE sql AS 'SELECT at';
    CREATE AGGREGATE middle(float8 ORDER BY float8) (sfunc = array_append, stype = float8[], finalfunc = first);
    CREATE OPERATOR === (leftarg = integer, rightarg = integer, function = int4eq);
    CREATE OPERATOR !== (rightarg = integer, function = int4um);
    CREATE COLLATION plain (LOCALE = 'C');
    CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
    CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
    CREATE TEXT SEARCH DICTIONARY meanings (TEMPLATE = simple);
    CREATE PUBLICATION news FOR TABLE shop;
    CREATE SERVER far FOREIGN DATA WRAPPER wrapper;
    CREATE FOREIGN TABLE far_away (a integer) SERVER far;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader} WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    ALTER DEFAULT PRIVILEGES REVOKE TRUNCATE ON TABLES FROM CURRENT_USER;
    ALTER DEFAULT PRIVILEGES IN SCHEMA shelf GRANT USAGE ON SEQUENCES TO {reader};
    SELECT lo_create(0);
"""


@pytest.fixture
def site(postgres: Postgres) -> Iterator[SeparateSite]:
    yield from make_separate_site(postgres)


@pytest.fixture
def one_site(one_postgres: Postgres) -> Iterator[SeparateSite]:
    yield from make_separate_site(one_postgres)


def reader_of(site: SeparateSite) -> str:
    return site.app.user.replace("_app", "_reader")


def prepare(site: SeparateSite, database: str, role: str) -> None:
    """As the superuser, create what `EVERY_KIND` needs, and objects for `role` that only a superuser can create."""
    site.postgres.make_role(reader_of(site), PASSWORD)
    with site.postgres.admin(database) as admin:
        admin.execute(
            sql.SQL("""
                CREATE FOREIGN DATA WRAPPER wrapper; GRANT USAGE ON FOREIGN DATA WRAPPER wrapper TO PUBLIC;
                CREATE OPERATOR FAMILY family USING btree;
                CREATE OPERATOR CLASS class FOR TYPE integer USING btree FAMILY family
                    AS OPERATOR 1 <, FUNCTION 1 btint4cmp(integer, integer);
                ALTER OPERATOR FAMILY family USING btree OWNER TO {role};
                ALTER OPERATOR CLASS class USING btree OWNER TO {role};
                ALTER LANGUAGE plpgsql OWNER TO {role}
            """).format(role=sql.Identifier(role))
        )


def make_every_kind(site: SeparateSite, connection: psycopg.Connection[Any]) -> None:
    connection.execute(sql.SQL(EVERY_KIND).format(reader=sql.Identifier(reader_of(site))))


def owned(site: SeparateSite, database: str, role: str) -> list[str]:
    """Return the objects that `role` owns in `database`, as described by the server."""
    with site.postgres.admin(database) as admin:
        rows = admin.execute(
            "SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend WHERE deptype = 'o' "
            "AND refclassid = 'pg_authid'::regclass AND refobjid = %s::regrole "
            "AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1",
            [role],
        ).fetchall()
    return [row[0].replace(role, "ROLE") for row in rows]


def count_owned(site: SeparateSite, database: str, role: str) -> int:
    """Return the same for a database with connections disabled."""
    with site.postgres.admin() as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid WHERE datname = %s "
            "AND deptype = 'o' AND refclassid = 'pg_authid'::regclass AND refobjid = %s::regrole",
            [database, role],
        ).fetchone()
    return int(row[0]) if row else 0


def default_privileges(site: SeparateSite, database: str, role: str) -> list[tuple[str, str, list[str]]]:
    with site.postgres.admin(database) as admin:
        rows = admin.execute(
            "SELECT defaclnamespace::regnamespace::text, defaclobjtype::text, defaclacl::text FROM pg_default_acl "
            "WHERE defaclrole = %s::regrole ORDER BY 1, 2",
            [role],
        ).fetchall()
    return [(row[0], row[1], sorted(row[2].strip("{}").replace(role, "ROLE").split(","))) for row in rows]


@pytest.mark.slow
def test_every_kind_of_object_is_transferred(site):
    one, _ = site.names
    site.run(is_shared=True)
    prepare(site, one, site.app.user)
    with site.app.connect(one) as application:
        make_every_kind(site, application)
    before, defaults = owned(site, one, site.app.user), default_privileges(site, one, site.app.user)
    assert (len(before) > 30, len(defaults)) == (True, 3)
    assert site.run() == [None, None]
    assert owned(site, one, site.app.user) == []
    assert owned(site, one, one) == before
    assert default_privileges(site, one, one) == defaults
    assert site.plan().is_empty
    assert errors(site.verify()) == [None, None]


#: It shadows an operator of pg_catalog; every role that uses it executes the tenant's function.
TRAP = """
    CREATE SCHEMA trap;
    CREATE FUNCTION trap.same(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN ALTER ROLE {0} CREATEDB CREATEROLE; RETURN $1 = $2::oid;
        EXCEPTION WHEN insufficient_privilege THEN RETURN $1 = $2::oid; END $$;
    CREATE OPERATOR trap.= (leftarg = oid, rightarg = regclass, function = trap.same);
    CREATE FUNCTION trap.has_database_privilege(text, oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION trap.pg_identify_object(oid, oid, integer, OUT type text, OUT schema text, OUT name text,
        OUT identity text) LANGUAGE sql AS $$SELECT 'role', NULL, NULL, '{0} CREATEDB'$$;
    ALTER DATABASE {1} SET search_path = trap, pg_catalog, public;
"""


@pytest.mark.slow
def test_master_executes_no_function_of_a_tenant(site):
    """A tenant controls its database, including the search path for functions and operators."""
    one, _ = site.names
    site.run(is_shared=True)
    with site.app.connect(one) as application:
        application.execute("CREATE TABLE shop (id bigserial)")
        application.execute(sql.SQL(TRAP).format(sql.Identifier(site.app.user), sql.Identifier(one)))
    assert site.run() == [None, None]
    assert owned(site, one, site.app.user) == []
    with site.postgres.admin() as admin:
        powers = "SELECT rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = ANY(%s)"
        assert set(admin.execute(powers, [[site.app.user, *site.names]]).fetchall()) == {(False, False)}


@pytest.mark.slow
def test_master_trusts_only_pg_catalog_in_the_maintenance_database(one_site):
    """Up to 14, and after an upgrade from it, every role can create objects in the schema ``public``."""
    site = one_site
    site.run(is_shared=True)
    schema, database = sql.Identifier(site.app.user), sql.Identifier(site.names[0])
    with site.postgres.admin() as admin:
        try:
            admin.execute(
                sql.SQL(
                    "CREATE SCHEMA {0}; GRANT USAGE ON SCHEMA {0} TO PUBLIC; CREATE FUNCTION "
                    "{0}.has_database_privilege(text, oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'; "
                    "ALTER ROLE {1} SET search_path = {0}, pg_catalog; GRANT CONNECT ON DATABASE {2} TO PUBLIC"
                ).format(schema, sql.Identifier(site.postgres.master.user), database)
            )
            steps = site.plan(is_shared=True).tenants[0].steps
        finally:
            admin.execute(
                sql.SQL("ALTER ROLE {} RESET search_path; DROP SCHEMA {} CASCADE").format(
                    sql.Identifier(site.postgres.master.user), schema
                )
            )
    assert [str(step) for step in steps] == [f"revoke CONNECT and TEMPORARY on {site.names[0]} from PUBLIC"]


@contextmanager
def subscribed(site: SeparateSite, database: str) -> Iterator[None]:
    """A database that has a subscription cannot be dropped."""
    conninfo = "CONNECTION 'host=127.0.0.1 user=other password=nothing'"
    with site.postgres.admin(database) as admin:
        admin.execute(f"CREATE SUBSCRIPTION feed {conninfo} PUBLICATION it WITH (connect = false, slot_name = NONE)")
        admin.execute("UPDATE pg_subscription SET subowner = %s::regrole", [site.app.user])
        try:
            yield
        finally:
            admin.execute("DROP SUBSCRIPTION feed")


@pytest.mark.slow
def test_subscription_is_transferred_from_16_on(site):
    one, _ = site.names
    site.run(is_shared=True)
    with subscribed(site, one):
        assert ReassignObjects(one, site.app.user, one, 1) in site.plan().tenants[0].steps
        first, second = site.run()
        with site.postgres.admin() as admin:
            query = "SELECT subowner::regrole::text FROM pg_subscription WHERE subname = 'feed'"
            owner = admin.execute(query).fetchall()[0][0]
        if site.postgres.version >= 16:
            assert (first, owner) == (None, one)
        else:
            assert (first, owner) == (
                f"Cannot transfer ownership from {site.app.user} to {one} of: subscription feed (permission "
                'denied to change owner of subscription "feed"). All other objects were transferred.',
                site.app.user,
            )
        assert second is None


@pytest.mark.slow
def test_objects_that_cannot_be_transferred_are_reported(site):
    one, _ = site.names
    app = site.app.user
    site.run(is_shared=True)
    with site.postgres.admin(one) as admin, site.app.connect(one) as application:
        as_superuser = """
            CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
            CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
            CREATE FOREIGN DATA WRAPPER wrapper;
            GRANT USAGE ON FOREIGN DATA WRAPPER wrapper TO {app};
            ALTER ROLE {app} SUPERUSER; ALTER EVENT TRIGGER watching OWNER TO {app}; ALTER ROLE {app} NOSUPERUSER;
        """
        admin.execute(sql.SQL(as_superuser).format(app=sql.Identifier(app)))
        application.execute("CREATE TABLE shop (id bigserial); CREATE SERVER far FOREIGN DATA WRAPPER wrapper")
        application.execute("CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (password 'far-away')")
        application.execute("CREATE TEMPORARY TABLE basket (id integer)")
        row = application.execute("SELECT pg_my_temp_schema()::regnamespace::text AS name").fetchone()
        assert row is not None
        server = "server far (permission denied for foreign-data wrapper wrapper)"
        mapping = (
            f"user mapping {app} on server far (its password cannot be read: run CREATE USER MAPPING FOR {one} "
            "and drop this one once it is unused)"
        )
        trigger = 'event trigger watching (permission denied to change owner of event trigger "watching")'
        basket = f"table {row.name}.basket (temporary; it is dropped when its session ends)"
        sentence = f"Cannot transfer ownership from {app} to {one} of: {{}}. All other objects were transferred."
        assert site.run() == [sentence.format("; ".join([basket, trigger, server, mapping])), None]
        assert owned(site, one, one) == ["sequence shop_id_seq", "table shop"]
    admin_does(site, one, "DROP EVENT TRIGGER watching")
    admin_does(site, one, "GRANT USAGE ON FOREIGN DATA WRAPPER wrapper TO {}", one)
    assert site.run() == [sentence.format(mapping), None]
    admin_does(site, one, "CREATE USER MAPPING FOR {} SERVER far", one)
    admin_does(site, one, "DROP USER MAPPING FOR {} SERVER far", app)
    assert site.run() == [None, None]
    assert (owned(site, one, app), site.plan().is_empty) == ([], True)


def admin_does(site: SeparateSite, database: str, statement: str, *names: str) -> None:
    with site.postgres.admin(database) as admin:
        admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.mark.slow
def test_extensions_keep_their_owner_and_are_reported(site):
    """There is no ALTER EXTENSION … OWNER; the master, a member of the previous owner, can still update it."""
    one, _ = site.names
    site.run(is_shared=True)
    admin_does(site, one, "DROP EXTENSION plpgsql")
    with site.app.connect(one) as application:
        application.execute("CREATE EXTENSION plpgsql")
    with locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection)
        first, second = provisioner.apply(provisioner.plan(), Listener(lambda step: None))
    assert (first.error, second.error) == (None, None)
    assert first.notes == (
        f"Objects in {one} not owned by {one}: extension plpgsql (owner {site.app.user}); PostgreSQL cannot change the "
        "owner of an extension",
    )
    assert (second.notes, site.plan().is_empty) == ((), True)
    with site.postgres.master.connect(one) as master:
        master.execute("ALTER EXTENSION plpgsql UPDATE")


@pytest.mark.slow
def test_objects_of_another_tenants_role_fail_the_verification_and_others_are_reported(site):
    one, two = site.names
    site.run()
    other = f"{site.app.user}_analyst"
    site.postgres.make_role(other, PASSWORD)
    for role in (two, other):
        admin_does(site, one, "CREATE SCHEMA {} AUTHORIZATION {}", role, role)
    first, second = site.verify()
    assert (str(first.error), second.error) == (
        f"Objects in {one} are not owned by {one}: schema {two} (owner {two}).",
        None,
    )
    admin_does(site, one, "ALTER SCHEMA {} OWNER TO {}", two, one)
    first, second = site.verify()
    assert (first.error, first.notes) == (
        None,
        (f"Objects in {one} not owned by {one}: schema {other} (owner {other})",),
    )
    admin_does(site, one, "DROP SCHEMA {}", other)


@pytest.mark.slow
@pytest.mark.xdist_group("templates")  # `--prune-templates` of another test would drop its template.
def test_master_keeps_only_superuser_objects_in_a_copy(site, settings, django_db_blocker):
    settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
    one, _ = site.names
    desired = replace(site.desired, migrate=True, template=f"{TEMPLATE_PREFIX}{one}")
    before: list[str] = []

    def fill(step: Operation) -> None:
        if isinstance(step, RunMigrations):
            prepare(site, desired.template, "postgres")
            with site.postgres.master.connect(desired.template) as master:
                make_every_kind(site, master)
            before.extend(owned(site, desired.template, "postgres"))

    with django_db_blocker.unblock(), locked_session(site.postgres.master, wait=30) as connection:
        provisioner = site.provisioner(connection)
        logins = replace(provisioner.logins, desired=desired)
        provisioner = replace(provisioner, logins=logins, graph=read_graph())
        assert errors(provisioner.apply(provisioner.plan(), Listener(fill))) == [None, None]
    for statement in ("ALTER DATABASE {} IS_TEMPLATE false", "DROP DATABASE {}"):
        admin_does(site, "postgres", statement, desired.template)
    assert (owned(site, one, "postgres"), owned(site, one, one)) == (
        [],
        [name.replace("postgres", "ROLE") for name in before],
    )


@pytest.mark.slow
@pytest.mark.parametrize("comment", [TENANT_COMMENT, TENANT_COMMENT + IN_PROGRESS_SUFFIX, "other comment", None])
@pytest.mark.parametrize("owner", ["old", "postgres"])
def test_kill_between_the_transfers_of_a_database_and_its_objects(one_site, owner, comment):
    """Only the marker in the comment records then whose objects were to be transferred."""
    site = one_site
    one, _ = site.names
    role = owner if owner == "postgres" else one.replace("_one", "_o\"l'd")
    with site.postgres.admin() as admin:
        for statement in (
            "CREATE ROLE {role} LOGIN; GRANT {role} TO postgres" if role != owner else "",
            "CREATE DATABASE {one} OWNER {role}",
            "COMMENT ON DATABASE {one} IS {comment}",
        ):
            parts = {"role": sql.Identifier(role), "one": sql.Identifier(one), "comment": sql.Literal(comment)}
            admin.execute(sql.SQL(statement).format(**parts))
    admin_does(
        site, one, "SET ROLE {}; CREATE TABLE public.shop (id bigserial); CREATE TYPE public.size AS ENUM ()", role
    )

    def kill(step: Operation) -> None:
        if isinstance(step, ChangeOwner) and step.database == one:
            raise Killed

    with pytest.raises(Killed):
        site.run(kill, adopt=True)
    assert len(owned(site, one, role)) == 3
    assert site.run(adopt=True) == [None, None]
    assert (owned(site, one, role), len(owned(site, one, one)), site.plan().is_empty) == ([], 3, True)
    (row,) = site.postgres.snapshot([one])
    if comment and comment.startswith(TENANT_COMMENT):
        assert row[4] == comment
    else:
        former = former_owner_marker(role) if role != "postgres" else ""
        assert row[4] == TENANT_COMMENT + former + (f". {comment}" if comment else "")


@pytest.mark.slow
def test_refused_transfer_is_reported_and_the_rest_is_transferred(site):
    one, _ = site.names
    site.run(is_shared=True)
    with site.app.connect(one) as application:
        application.execute("CREATE TABLE first (); CREATE TABLE second (); CREATE TABLE third ()")
    admin_does(
        site,
        one,
        """
        CREATE FUNCTION public.guard() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN IF current_query() LIKE '%second%' THEN RAISE 'not this one'; END IF; END $$;
        CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.guard()
        """,
    )
    expected = (
        f"Cannot transfer ownership from {site.app.user} to {one} of: table public.second (not this one). All other "
        "objects were transferred."
    )
    assert site.run() == [expected, None]
    assert owned(site, one, site.app.user) == ["table second"]
    admin_does(site, one, "DROP EVENT TRIGGER guard; DROP FUNCTION public.guard()")
    assert (site.run(), owned(site, one, site.app.user), site.plan().is_empty) == ([None, None], [], True)


@pytest.mark.slow
def test_object_dropped_meanwhile_is_not_an_error(one_site):
    site = one_site
    one, _ = site.names
    site.run(is_shared=True)
    with site.app.connect(one) as application, ThreadPoolExecutor() as pool:
        application.execute("CREATE TABLE first (); CREATE TABLE second (); CREATE TABLE third ()")
        with site.postgres.admin(one) as admin, application.transaction():
            application.execute("LOCK TABLE first")
            running = pool.submit(site.run)
            waiting = "SELECT FROM pg_locks WHERE relation = 'public.first'::regclass AND NOT granted"
            while not admin.execute(waiting).fetchall() and not running.done():
                time.sleep(0.01)
            application.execute("DROP TABLE second")
        assert running.result(timeout=60) == [None, None]
    assert (owned(site, one, site.app.user), owned(site, one, one)) == ([], ["table first", "table third"])


FORGERIES = [
    "COMMENT ON DATABASE {one} IS '" + TENANT_COMMENT + reassign_marker("postgres") + "'",
    f"ALTER DATABASE {{one}} CONNECTION LIMIT {INCOMPLETE_LIMIT}",
    f"ALTER DATABASE {{one}} WITH CONNECTION LIMIT {INCOMPLETE_LIMIT} ALLOW_CONNECTIONS false",
]


@pytest.mark.slow
@pytest.mark.parametrize("forgery", FORGERIES)
def test_tenant_cannot_forge_a_transfer_of_the_masters_objects(site, forgery):
    one, _ = site.names
    site.run()
    with session(site.postgres.master) as master:
        master.execute(sql.SQL("CREATE DATABASE {} IS_TEMPLATE true").format(sql.Identifier(f"{one}_another")))
    admin_does(site, one, "CREATE TABLE public.audit (); ALTER TABLE public.audit OWNER TO postgres")
    with site.login(one).connect("postgres") as tenant:
        tenant.execute(sql.SQL(forgery).format(one=sql.Identifier(one)))
    try:
        before = site.postgres.snapshot([one])
        expected = (
            f"{one} contains 1 object owned by postgres. Such objects are transferred only with --adopt, because the "
            "database's owner can write its comment and connection limit. Nothing was changed."
        )
        assert site.run() == [expected, None]
        assert (count_owned(site, one, "postgres"), site.postgres.snapshot([one])) == (1, before)
        assert [str(result.error) for result in site.verify()] == [expected, "None"]
        assert site.run(adopt=True) == [None, None]
        assert (owned(site, one, "postgres"), site.plan().is_empty) == ([], True)
    finally:
        admin_does(site, "postgres", "ALTER DATABASE {} IS_TEMPLATE false", f"{one}_another")


@pytest.mark.slow
@pytest.mark.xdist_group("templates")
@pytest.mark.parametrize("last", [CloneTemplate, ChangeOwner, AllowOwnerConnections])
def test_interrupted_copy_is_continued_without_adopt(one_site, settings, django_db_blocker, last):
    """A tenant cannot forge that the master's objects in it are copies of a template's."""
    site = one_site
    settings.INSTALLED_APPS = ["deploytools", "tests.fleet"]
    settings.MIGRATION_MODULES = {"fleet": "tests.fleet.migrations.v2"}
    one, _ = site.names
    desired = replace(site.desired, migrate=True, template=f"{TEMPLATE_PREFIX}{one}")

    def kill(step: Operation) -> None:
        if isinstance(step, last) and step.database == one:
            raise Killed

    def run(on_step: Any) -> list[str | None]:
        with locked_session(site.postgres.master, wait=30) as connection:
            provisioner = site.provisioner(connection)
            logins = replace(provisioner.logins, desired=desired)
            provisioner = replace(provisioner, logins=logins, graph=read_graph())
            return errors(provisioner.apply(provisioner.plan(), Listener(on_step)))

    with django_db_blocker.unblock():
        try:
            with pytest.raises(Killed):
                run(kill)
            assert (count_owned(site, one, "postgres") > 1, run(lambda step: None)) == (True, [None, None])
        finally:
            for statement in ("ALTER DATABASE {} IS_TEMPLATE false", "DROP DATABASE {}"):
                admin_does(site, "postgres", statement, desired.template)
    assert owned(site, one, "postgres") == []
