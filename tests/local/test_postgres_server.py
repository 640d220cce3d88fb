"""Roles and settings of the PostgreSQL servers, and no password in their logs."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from deploytools.local import CloudState, PostgresState

#: Roles of other tests.
OTHER_ROLES = re.compile("t[0-9a-f]{10}")


def test_master_user(cloud: CloudState, server: PostgresState) -> None:
    query = """
        SELECT rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolreplication, rolvaliduntil::text,
               ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1) AS groups
        FROM pg_roles r WHERE rolname = current_user
    """
    with psycopg.connect(**cloud.as_master(server)) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    *attributes, groups = row
    assert attributes == [False, True, True, True, False, "infinity"]
    assert [name for name in groups if not OTHER_ROLES.match(name)] == [
        "pg_monitor",
        "pg_signal_backend",
        "rds_superuser",
    ]


def test_other_roles_and_the_database(cloud: CloudState, server: PostgresState) -> None:
    roles = "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
    database = "SELECT datdba::regrole::text, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'postgres'"
    with psycopg.connect(**cloud.as_superuser(server)) as connection:
        found = [row for row in connection.execute(roles).fetchall() if not OTHER_ROLES.match(row[0])]
        assert found == [
            ("postgres", False, True),
            ("rds_iam", False, False),
            ("rds_superuser", False, False),
            ("rdsadmin", True, True),
        ]
        assert connection.execute(database).fetchone() == ("postgres", "UTF8")


def test_settings(cloud: CloudState, server: PostgresState) -> None:
    expected = {
        "max_connections": "100",
        "password_encryption": "scram-sha-256",
        "log_statement": "ddl",
        "log_min_error_statement": "error",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }
    with psycopg.connect(**cloud.as_superuser(server)) as connection:
        found = {name: connection.execute(f"SHOW {name}").fetchone() for name in expected}
    assert found == {name: (value,) for name, value in expected.items()}


def test_no_password_in_the_log_or_in_a_readable_file(cloud: CloudState, server: PostgresState) -> None:
    log = Path(server.log_file).read_text(encoding="utf-8")
    assert "CREATE ROLE" in log
    assert "connection received" in log
    assert cloud.master_password not in log
    assert cloud.rdsadmin_password not in log
    assert not (Path(cloud.directory).stat().st_mode & 0o066)
    assert not Path(server.data_dir).with_name("password").exists()


def test_no_password_in_the_repr(cloud: CloudState) -> None:
    for password in (cloud.master_password, cloud.rdsadmin_password, cloud.smtp.password):
        assert len(password) == 32
        assert password not in repr(cloud)
