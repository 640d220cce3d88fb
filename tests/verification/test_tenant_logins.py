"""The logins to all tenant databases: one that hangs or raises does not affect the others."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from deploytools.conf import read_settings
from deploytools.secrets.reader import SecretReader
from deploytools.tenants.catalog import LEFTOVERS
from deploytools.tenants.credentials import tenant_login
from deploytools.tenants.state import UnusableObjects
from deploytools.verification.databases.facts import (
    CONCURRENT_LOGINS,
    PRIVILEGES,
    TABLES,
    TenantReport,
    log_in_to_all,
    login_timeout,
    model_tables,
    read_catalog,
    tenant_logins,
    weakness,
)
from deploytools.verification.findings import Status
from tests.management.runner import run
from tests.verification.zoo.world import FIRST, REGISTRY, REPORT, findings

DONE = frozenset({FIRST})


def test_login_that_hangs_is_unknown_for_its_tenant_only():
    free = threading.Event()

    def log_in(name: str) -> TenantReport:
        if name == "stuck":
            free.wait()
        return TenantReport(name, DONE)

    found = log_in_to_all(("stuck", "one", "two"), log_in, 0.5)
    threads = [thread for thread in threading.enumerate() if thread.name == "tenant-login"]
    free.set()
    assert threads, "the thread still hangs"
    assert all(thread.daemon for thread in threads)
    assert [(report.name, report.applied, str(report.error or "")) for report in found] == [
        ("stuck", frozenset(), "The login to stuck timed out after 0.5 s."),
        ("one", DONE, ""),
        ("two", DONE, ""),
    ]
    statuses = {
        (f.check.id, f.resource): f.status for f in findings(tenant_logins=found) if f.resource in {"stuck", "one"}
    }
    assert statuses["databases.login", "stuck"] is statuses["databases.migrated", "stuck"] is Status.UNKNOWN
    assert statuses["databases.login", "one"] is statuses["databases.migrated", "one"] is Status.PASS


def test_timeout_grows_with_the_number_of_tenants(settings):
    assert [login_timeout(tenants) for tenants in (1, CONCURRENT_LOGINS, CONCURRENT_LOGINS + 1, 300)] == [
        25, 25, 30, 210,
    ]  # fmt: skip
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"TENANTS": [f"tenant_{number}" for number in range(300)]}
    assert REGISTRY.sources["tenant_logins"].seconds({"settings": read_settings()}) == 220


def test_unexpected_exception_is_reported_without_its_text():
    def log_in(name: str) -> TenantReport:
        if name == "broken":
            raise RuntimeError("canary")
        return TenantReport(name, DONE)

    broken, one = log_in_to_all(("broken", "one"), log_in, 30)
    assert (str(broken.error), one.error) == ("The login to broken raised RuntimeError.", None)


def test_each_tenant_is_logged_in_to_once_and_reported_in_order():
    seen: list[str] = []

    def log_in(name: str) -> TenantReport:
        seen.append(name)
        return TenantReport(name)

    names = tuple(f"tenant_{number}" for number in range(3 * CONCURRENT_LOGINS))
    assert tuple(report.name for report in log_in_to_all(names, log_in, 30)) == names
    assert sorted(seen) == sorted(names)
    assert log_in_to_all((), log_in, 30) == ()


def test_passwords_of_tenants():
    strong = "Aq7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU"
    passwords = {"one": strong, "two": strong, "three": strong[::-1], "four": "short", "five": "change-me-" + strong}
    assert [weakness(name, passwords) for name in (*passwords, "unknown")] == [
        "is also the password of two",
        "is also the password of one",
        "",
        "has 5 characters, at least 32 are required",
        "is a placeholder",
        "",
    ]


@pytest.mark.slow
def test_session_settings_and_recorded_tables(capsys, deployment):
    """A setting of the role in one database, VALID UNTIL, and a recorded migration whose table does not exist."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    one, other = deployment.tenants
    with deployment.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {deployment.role} VALID UNTIL '{datetime.now(UTC) + timedelta(days=2, hours=1)}'")
        admin.execute(f"ALTER DATABASE {other} SET default_transaction_read_only = on")
        admin.execute(f"ALTER ROLE {deployment.role} IN DATABASE {one} SET default_transaction_read_only = on")
        admin.execute(f"ALTER ROLE {deployment.role} IN DATABASE {other} SET default_transaction_read_only = off")
    with deployment.postgres.admin(one) as admin:
        admin.execute("CREATE TABLE django_migrations (app text, name text)")
        admin.execute("INSERT INTO django_migrations VALUES ('contenttypes', '0001_initial')")
        admin.execute(f"GRANT SELECT ON django_migrations TO {deployment.role}")
    settings = read_settings()
    secret = SecretReader.connect(deployment.name, settings.region).read()
    found = tenant_logins(secret, tuple(deployment.tenants), settings, REPORT)
    assert [(report.is_read_only, report.password_days, report.missing_tables) for report in found] == [
        (True, 2, ('"django_content_type"',)),
        (False, 2, ()),
    ]


@pytest.mark.slow
def test_columns_and_privileges_that_are_missing(capsys, deployment):
    """The migration is recorded; the owner dropped a column, revoked a privilege from itself, and has no policy."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    one, other = deployment.tenants
    create = (
        "CREATE TABLE django_migrations (app text, name text)",
        "INSERT INTO django_migrations VALUES ('contenttypes', '0002_remove_content_type_name')",
        "CREATE TABLE django_content_type (id integer, app_label varchar(50), model text)",
        "ALTER TABLE django_content_type ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY master ON django_content_type TO pg_read_all_data",
        "CREATE POLICY writes ON django_content_type FOR INSERT TO CURRENT_USER WITH CHECK (true)",
    )
    settings = read_settings()
    secret = SecretReader.connect(deployment.name, settings.region).read()
    for tenant, statements in (
        (one, ("CREATE POLICY own ON django_content_type TO CURRENT_USER",)),
        (other, ("ALTER TABLE django_content_type DROP COLUMN model",)),
    ):
        with tenant_login(settings, secret.document, tenant).connect(tenant) as session:
            for statement in (*create, *statements):
                session.execute(statement)
            if tenant == other:
                session.execute("REVOKE UPDATE ON django_content_type FROM CURRENT_USER")
                session.execute("GRANT UPDATE (app_label) ON django_content_type TO CURRENT_USER")
    found = tenant_logins(secret, tuple(deployment.tenants), settings, REPORT)
    assert [report.defects for report in found] == [
        (
            'table "django_content_type" has no primary key',
            'column "app_label" of "django_content_type" has 50 characters, not 100',
            'table "django_content_type" has no unique constraint of app_label, model',
        )
    ] * 2
    names = ("missing_tables", "missing_columns", "missing_privileges", "hidden_tables")
    assert [tuple(getattr(report, name) for name in names) for report in found] == [
        ((), (), (), ()),
        ((), ('"django_content_type"."model"',), ('UPDATE on "django_content_type"',), ('"django_content_type"',)),
    ]


@pytest.mark.django_db
def test_migrated_tables_have_no_defects():
    tables = {table.name: table for table in model_tables()}
    with connection.cursor() as cursor:
        cursor.execute(TABLES, [list(PRIVILEGES), list(tables)])
        names = [column.name for column in cursor.description]
        rows = [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
    found = [row for row in rows if not row.is_missing]
    assert sum(len(tables[row.name].uniques) for row in found) > 5
    assert sum(len(tables[row.name].lengths) for row in found) > 10
    assert [defect for row in found for defect in tables[row.name].defects(row)] == []


#: What is wrong in a database: the statements, what the report has, and how it ends.
WORLDS: tuple[tuple[tuple[str, ...], dict[str, tuple[str, ...]], tuple[str, ...]], ...] = (
    (
        (
            "CREATE SCHEMA reports",
            "GRANT CREATE ON SCHEMA reports TO PUBLIC",
            "GRANT SELECT ON public.orders TO PUBLIC",
        ),
        {"public_grants": ("CREATE on schema reports", "SELECT on orders")},
        ("DROP SCHEMA reports", "REVOKE SELECT ON public.orders FROM PUBLIC"),
    ),
    (
        ("ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO PUBLIC",),
        {"public_grants": ("SELECT by default privileges of {role}",)},
        ("ALTER DEFAULT PRIVILEGES FOR ROLE {role} REVOKE SELECT ON TABLES FROM PUBLIC",),
    ),
    (
        (
            "CREATE FOREIGN DATA WRAPPER any_server",
            "CREATE SERVER billing FOREIGN DATA WRAPPER any_server",
            "CREATE USER MAPPING FOR PUBLIC SERVER billing OPTIONS (password 'x')",
        ),
        {"public_grants": ("USAGE of the user mapping for server billing",)},
        ("DROP FOREIGN DATA WRAPPER any_server CASCADE",),
    ),
    (
        (
            "CREATE FUNCTION public.run(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS ''",
            "CREATE FUNCTION public.own(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS ''",
            "ALTER FUNCTION public.own OWNER TO {role}",
        ),
        {"definer_functions": ("run(text) (owner {admin})",)},
        ("DROP FUNCTION public.run", "DROP FUNCTION public.own"),
    ),
    (
        (
            "ALTER ROLE {role} SET statement_timeout = '50ms'",
            "ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '1min'",
            "ALTER DATABASE {database} SET lock_timeout = '1ms'",
            "ALTER ROLE {role} SET idle_session_timeout = '1s'",
        ),
        {"settings": ("statement_timeout is 50ms", "lock_timeout is 1ms", "idle_session_timeout is 1s")},
        ("ALTER ROLE {role} RESET ALL", "ALTER DATABASE {database} RESET ALL"),
    ),
    (
        ("INSERT INTO public.orders OVERRIDING SYSTEM VALUE VALUES (7)", "ANALYZE public.orders"),
        {"defects": ("sequence orders_id_seq is behind orders",)},
        ("SELECT setval('public.orders_id_seq', 7)",),
    ),
    (
        ("INSERT INTO public.orders VALUES (9)", "ALTER TABLE public.orders ALTER id RESTART 9", "ANALYZE"),
        {"defects": ("sequence orders_id_seq is behind orders",)},
        ("ALTER TABLE public.orders ALTER id RESTART 10",),
    ),
    (
        (
            "ALTER TABLE public.lines SET UNLOGGED",
            "CREATE TABLE public.plain (id int) WITH (autovacuum_enabled = false)",
            "ALTER TABLE public.plain OWNER TO {role}",
        ),
        {
            "defects": (
                "table lines is unlogged: a crash empties it",
                "table plain is excluded from autovacuum",
            )
        },
        ("ALTER TABLE public.lines SET LOGGED", "DROP TABLE public.plain"),
    ),
    (
        (
            """DO $$BEGIN IF current_setting('server_version_num')::int >= 180000 THEN
               EXECUTE 'ALTER TABLE public.orders ADD CONSTRAINT hope CHECK (id > 0) NOT ENFORCED'; END IF; END$$""",
        ),
        {},
        ("ALTER TABLE public.orders DROP CONSTRAINT IF EXISTS hope",),
    ),
    (
        (
            "CREATE INDEX broken ON public.orders (id)",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.broken'::regclass",
            "ALTER TABLE public.orders ADD CONSTRAINT positive CHECK (id > 0) NOT VALID",
            "ALTER TABLE public.lines DISABLE TRIGGER ALL",
        ),
        {
            "defects": (
                "constraint positive of orders is not valid",
                "foreign keys of lines are disabled",
                "index broken is not valid",
            )
        },
        (
            "DROP INDEX public.broken",
            "ALTER TABLE public.orders DROP CONSTRAINT positive",
            "ALTER TABLE public.lines ENABLE TRIGGER ALL",
        ),
    ),
)


@pytest.mark.slow
@pytest.mark.other_versions
def test_faults_in_a_database(capsys, deployment):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    settings, tenant = read_settings(), deployment.tenants[0]
    secret = SecretReader.connect(deployment.name, settings.region).read()
    good = TenantReport(tenant, unusable=UnusableObjects())
    with deployment.postgres.admin(tenant) as admin:
        admin.execute(f"SET ROLE {deployment.role}")
        admin.execute("CREATE TABLE public.orders (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)")
        admin.execute("CREATE TABLE public.lines (id serial PRIMARY KEY, parent bigint REFERENCES public.orders)")
        admin.execute("RESET ROLE")
        names = {"role": deployment.role, "database": tenant, "admin": admin.info.user}
        for statements, expected, end in WORLDS:
            for statement in statements:
                admin.execute(statement.format(**names))
            wanted: dict[str, Any] = {
                key: tuple(text.format(**names) for text in found) for key, found in expected.items()
            }
            assert tenant_logins(secret, (tenant,), settings, REPORT) == (replace(good, **wanted),), statements
            for statement in end:
                admin.execute(statement.format(**names))
            assert tenant_logins(secret, (tenant,), settings, REPORT) == (good,), end


@pytest.mark.slow
@pytest.mark.other_versions
def test_temporary_tables_of_other_sessions_are_not_read(capsys, deployment):
    """PostgreSQL allows no session to read them, not even one of the same role."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    settings, tenant = read_settings(), deployment.tenants[0]
    secret = SecretReader.connect(deployment.name, settings.region).read()
    with tenant_login(settings, secret.document, tenant).connect(tenant) as session:
        session.execute("CREATE TEMPORARY TABLE imported (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)")
        session.execute("INSERT INTO imported VALUES (7)")
        session.execute("ANALYZE imported")
        found = tenant_logins(secret, (tenant,), settings, REPORT)
    assert found == (TenantReport(tenant, unusable=UnusableObjects()),)


@pytest.mark.slow
@pytest.mark.other_versions
def test_leftovers_on_the_server(capsys, deployment):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    settings, tenant = read_settings(), deployment.tenants[0]
    secret = SecretReader.connect(deployment.name, settings.region).read()
    with deployment.postgres.admin(tenant) as admin:
        for slot in ("old_replica", "rds_us_east_1_db_replica"):
            admin.execute("SELECT pg_create_physical_replication_slot(%s, true)", [slot])
        try:
            catalog = read_catalog(secret, (tenant,), settings, tenant)
        finally:
            admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    assert [(name, problem) for name, problem, _ in catalog.leftovers] == [
        ("old_replica", "the replication slot has no client, and keeps WAL")
    ]
    assert catalog.leftovers[0][2].endswith("SELECT pg_drop_replication_slot('old_replica')")
    assert catalog.outdated_collations == frozenset()


def test_hint_for_a_forgotten_transaction_does_not_end_shorter_ones(deployment):
    with deployment.postgres.admin() as admin, deployment.postgres.admin() as other, other.transaction():
        other.execute("SELECT")
        leftovers = admin.execute(LEFTOVERS.replace("interval '1 hour'", "interval '0'")).fetchall()
        (hint,) = [hint for name, _, hint in leftovers if name == f"postgres {other.info.user}"]
        statement = hint.partition("To end it: ")[2].replace("WHERE", f"WHERE pid = {other.info.backend_pid} AND")
        assert admin.execute(statement).fetchall() == []
