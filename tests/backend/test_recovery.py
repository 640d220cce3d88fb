"""A new connection uses the login that works, on a real server and with an emulated Secrets Manager."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from deploytools import aws
from deploytools.backend import login_source
from deploytools.backend.login_source import DatabaseLogin, SecretLogins, connect_with
from deploytools.postgres.connections import Login
from deploytools.postgres.default_connection import default_connection_to
from deploytools.postgres.failures import is_login_refused
from deploytools.secrets.document import Secret
from tests.backend.conftest import IMPATIENT, TIMEOUT
from tests.backend.world import World, session
from tests.fakes import endpoints
from tests.pgbouncer import pgbouncer


def source_of(made: World, connection: Any) -> SecretLogins:
    found = connection.login_source
    assert isinstance(found, SecretLogins)
    return found


def make_stale(source: SecretLogins) -> None:
    """Make the login older than REFRESH."""
    source._read_at -= login_source.REFRESH + 1


def test_without_login_it_is_django_s_own(made):
    connection = made.connection(made.password(1), LOGIN={})
    django = made.connection(made.password(1), ENGINE="django.db.backends.postgresql")
    assert connection.get_connection_params() == django.get_connection_params()
    assert connection.Database is psycopg
    made.set_role(made.name, made.password(2))
    made.put(made.name, made.password(2))
    with pytest.raises(OperationalError, match="password authentication failed"):
        connection.ensure_connection()
    assert made.reads == []


def test_changed_password(made_on_each_version, caplog):
    made = made_on_each_version
    caplog.set_level(logging.INFO, "deploytools.backend")
    connection = made.connection(made.password(1))
    session(connection)
    made.set_role(made.name, made.password(2))
    version = made.put(made.name, made.password(2))
    assert session(connection)[0] == made.name  # The open connection stays.
    for _ in range(3):
        connection.close()
        assert session(connection)[:2] == (made.name, made.name)
    connection.close()
    assert (made.reads, made.changes) == (["AWSCURRENT"], [(made.name, version)])
    assert [record.getMessage() for record in caplog.records] == [
        f"The database login from the secret {made.name} changed to {made.name}, version {version}."
    ]


def test_between_two_steps_of_a_rotation_the_pending_version_has_the_password(made_on_each_version):
    made = made_on_each_version
    connection = made.connection(made.password(1))
    version = made.put(made.name, made.password(2), "AWSPENDING")
    made.set_role(made.name, made.password(2))
    session(connection)
    connection.close()
    assert (made.reads, made.changes) == (["AWSCURRENT", "AWSPENDING"], [(made.name, version)])
    make_stale(source_of(made, connection))
    session(connection)  # AWSCURRENT is refused, the present login works.
    connection.close()
    assert (made.reads[2:], made.changes) == (["AWSCURRENT"], [(made.name, version)])


def test_a_rotation_that_ends_between_two_reads(made, monkeypatch):
    """AWSCURRENT is read before the rotation ends and AWSPENDING after it."""
    connection = made.connection(made.password(1))
    made.set_role(made.name, made.password(2))
    read_login = SecretLogins._read_login

    def end_rotation(source: SecretLogins, label: str) -> DatabaseLogin:
        if label == "AWSPENDING":
            made.put(made.name, made.password(2))
        return read_login(source, label)

    monkeypatch.setattr(SecretLogins, "_read_login", end_rotation)
    session(connection)
    connection.close()
    assert made.reads == ["AWSCURRENT", "AWSPENDING", "AWSCURRENT"]


@pytest.mark.parametrize("attributes", ["NOLOGIN", "LOGIN"])
def test_another_user(made, attributes):
    """The former login is closed: without LOGIN, or with another password."""
    other = f"{made.name}_b"
    made.make_role(other, made.password(2))
    made.set_role(made.name, made.password(3), attributes)
    version = made.put(other, made.password(2))
    connection = made.connection(made.password(1))
    assert session(connection)[0] == other
    connection.close()
    assert (made.reads, made.changes) == (["AWSCURRENT"], [(other, version)])


@pytest.mark.slow
def test_nothing_new_is_found(made, caplog):
    """The first error is raised, and AWS is queried again after 1 s, 2 s, … 30 s."""
    made.set_role(made.name, made.password(2))
    connection = made.connection(made.password(1))
    django = made.connection(made.password(1), ENGINE="django.db.backends.postgresql")
    with pytest.raises(OperationalError) as expected:
        django.ensure_connection()
    source, delays = source_of(made, connection), list[float]()
    for _ in range(7):
        delays.append(source._delay)
        source._not_before = 0
        for _ in range(2):
            with pytest.raises(OperationalError) as caught:
                connection.ensure_connection()
            assert str(caught.value) == str(expected.value)
            assert type(caught.value.__cause__) is type(expected.value.__cause__)
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    assert made.reads == ["AWSCURRENT", "AWSPENDING", "AWSCURRENT"] * 7
    assert [record for record in caplog.records if record.name == "deploytools.backend"] == []
    made.set_role(made.name, made.password(1))
    session(connection)
    connection.close()
    assert source._delay == 1


def test_a_new_login_that_is_refused_too(made):
    """Each login is tried once, and the login that the settings have stays in use."""
    made.put(made.name, made.password(2))
    made.put(made.name, made.password(3), "AWSPENDING")
    made.set_role(made.name, made.password(4))
    connection = made.connection(made.password(1))
    tried: list[str] = []

    def attempt(login: DatabaseLogin) -> None:
        tried.append(login.password.reveal())
        raise psycopg.OperationalError("password authentication failed")

    source = source_of(made, connection)
    with pytest.raises(psycopg.OperationalError):
        connect_with(source, attempt)
    assert tried == [made.password(number) for number in (1, 2, 3)]
    assert (source.present.password.reveal(), made.changes) == (made.password(1), [])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"NAME": "no_such_database"}, "does not exist"),
        ({"PORT": "1"}, "refused"),
        ({"OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"}}, "root certificate file"),
    ],
)
def test_other_failures_are_not_retried(made, values, message):
    connection = made.connection(made.password(1), **values)
    with pytest.raises(OperationalError, match=message):
        connection.ensure_connection()
    assert made.reads == []


@pytest.mark.parametrize(
    ("text", "used_password", "expected"),
    [
        ('FATAL:  password authentication failed for user "a"', True, True),
        ('FATAL:  role "a" is not permitted to log in', False, True),
        ('FATAL:  PAM authentication failed for user "a"', True, True),
        ("FATAL:  SASL authentication failed", True, True),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »a« fehlgeschlagen", True, True),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »a« fehlgeschlagen", False, False),
        ('FATAL:  database "a" does not exist', True, False),
        ("FATAL:  permission denied for database", True, False),
        ("FATAL:  sorry, too many clients already", True, False),
        ("FATAL:  the database system is starting up", True, False),
        ("connection timeout expired", True, False),
        ("connection to server at 10.0.0.1 failed: timed out\nFATAL:  password authentication failed", True, True),
    ],
)
def test_what_is_a_refusal(text, used_password, expected):
    assert is_login_refused(text, used_password=used_password) is expected


@pytest.mark.slow
def test_a_hundred_refused_threads_read_the_secret_once(made):
    made.set_role(made.name, made.password(2))
    made.put(made.name, made.password(2))
    connection = made.connection(made.password(1))
    source, parameters = source_of(made, connection), connection.get_connection_params()
    all_refused, slots = threading.Barrier(100), threading.Semaphore(10)

    def attempt(login: DatabaseLogin) -> str:
        try:
            with slots, psycopg.connect(**parameters | {"password": login.password.reveal()}) as opened:
                return opened.info.user
        except psycopg.OperationalError:
            all_refused.wait(60)
            raise

    with ThreadPoolExecutor(100) as pool:
        users = list(pool.map(lambda _: connect_with(source, attempt), range(100)))
    assert (users, made.reads, len(made.changes)) == ([made.name] * 100, ["AWSCURRENT"], 1)


@pytest.mark.slow
def test_aws_does_not_respond(made, monkeypatch, caplog):
    """The first error is raised after the client's time-out of 1 s."""
    monkeypatch.setattr(aws, "IMPATIENT", IMPATIENT)
    monkeypatch.setattr(login_source, "TIMEOUT", TIMEOUT)
    connection = made.connection(made.password(2))
    with endpoints.silent() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(OperationalError, match="password authentication failed"):
            connection.ensure_connection()
        with pytest.raises(OperationalError, match="password authentication failed"):
            connection.ensure_connection()
    assert made.reads == ["AWSCURRENT"]
    (record,) = [record for record in caplog.records if record.name == "deploytools.backend"]
    assert "secretsmanager:GetSecretValue got no response" in record.getMessage()


def test_a_read_that_does_not_end(made, monkeypatch):
    """Neither a slow name server nor the credentials of AWS delay a request for longer than the limit."""
    monkeypatch.setattr(login_source, "TIMEOUT", 0.2)
    never = threading.Event()
    monkeypatch.setattr(SecretLogins, "_read_login", lambda *_: never.wait(60))
    connection = made.connection(made.password(2))
    with pytest.raises(OperationalError, match="password authentication failed"):
        connection.ensure_connection()
    source = source_of(made, connection)
    assert source._reading
    assert not source._reading.done()
    never.set()


def test_an_old_login_is_read_again_although_it_works(made):
    """Without it, no process would use a new login before the former one is closed."""
    other = f"{made.name}_b"
    made.make_role(other, made.password(2))
    version = made.put(other, made.password(2))
    connection = made.connection(made.password(1))
    assert session(connection)[0] == made.name
    connection.close()
    make_stale(source_of(made, connection))
    for _ in range(2):
        assert session(connection)[0] == other
        connection.close()
    assert (made.reads, made.changes) == (["AWSCURRENT"], [(other, version)])


@pytest.mark.parametrize("content", ["not json", '{"username": "x"}', '{"username": "x", "password": ""}'])
def test_an_old_login_stays_if_the_secret_cannot_be_used(made, content, caplog):
    made.client.put_secret_value(SecretId=made.name, SecretString=content)
    connection = made.connection(made.password(1))
    make_stale(source_of(made, connection))
    for _ in range(2):
        session(connection)
        connection.close()
    assert made.reads == ["AWSCURRENT"]
    assert sum(record.name == "deploytools.backend" for record in caplog.records) == 1


def test_an_old_login_stays_if_aws_does_not_respond(made, monkeypatch):
    connection = made.connection(made.password(1))
    make_stale(source_of(made, connection))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoints.closed())
    session(connection)
    connection.close()
    assert made.changes == []


def test_persistent_connections(made):
    made.set_role(made.name, made.password(1))
    connection = made.connection(made.password(1), CONN_MAX_AGE=600, CONN_HEALTH_CHECKS=True)
    session(connection)
    opened = connection.connection
    made.set_role(made.name, made.password(2))
    made.put(made.name, made.password(2))
    connection.close_if_unusable_or_obsolete()
    session(connection)
    assert (connection.connection is opened, made.reads) == (True, [])
    made.postgres.terminate(made.name)
    connection.close_if_unusable_or_obsolete()
    connection.health_check_done = False
    session(connection)
    assert (connection.connection is opened, made.reads) == (False, ["AWSCURRENT"])
    connection.close()


def test_async_tasks(made):
    made.set_role(made.name, made.password(2))
    made.put(made.name, made.password(2))
    handler = ConnectionHandler({"default": made.settings(made.password(1))})

    def query() -> str:
        try:
            return str(session(handler["default"])[0])
        finally:
            handler["default"].close()

    async def run() -> list[str]:
        return await asyncio.gather(*(sync_to_async(query, thread_sensitive=False)() for _ in range(12)))

    assert asyncio.run(run()) == [made.name] * 12
    assert made.reads == ["AWSCURRENT"]


@pytest.mark.slow
def test_the_pool_of_django(made):
    """The refusal happens in a thread of the pool, whose arguments do not change."""
    pytest.importorskip("psycopg_pool")
    options = {"pool": {"min_size": 2, "max_size": 4, "timeout": 60}}
    connection = made.connection(made.password(1), OPTIONS=options, CONN_HEALTH_CHECKS=True)
    pool: Any = connection
    try:
        session(connection)
        connection.close()
        for number in (2, 3):
            made.set_role(made.name, made.password(number))
            made.put(made.name, made.password(number))
            made.postgres.terminate(made.name)
            assert session(connection)[0] == made.name
            connection.close()
        assert [user for user, _ in made.changes] == [made.name, made.name]
        pool.pool.drain()
        assert session(connection)[0] == made.name
        connection.close()
    finally:
        pool.close_pool()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pgbouncer(accessible, made, mode):
    made.set_role(made.name, made.password(2))
    made.put(made.name, made.password(2))
    login = Login(made.postgres.address, made.name, Secret(made.password(2)))
    with pgbouncer(accessible, made.postgres, login, mode=mode) as (pooled,):
        values = {"PORT": str(pooled.address.port), "OPTIONS": {"sslmode": "disable", "sslrootcert": None}}
        connection = made.connection(made.password(1), **values)
        assert session(connection)[:2] == (made.name, made.name)
        connection.close()
    assert made.reads == ["AWSCURRENT"]


def test_the_name_of_the_application_has_the_version(made):
    login = {"SECRET": made.name, "REGION": "us-east-1", "VERSION": "0a1b2c3d-4e5f"}
    for name, expected in {"shop": "shop-0a1b2c3d", "s" * 80: "s" * 54 + "-0a1b2c3d"}.items():
        connection = made.connection(made.password(1), LOGIN=login, OPTIONS={"application_name": name})
        assert session(connection)[2] == expected
        connection.close()


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ({"SECRET": "x"}, "LOGIN must have SECRET and REGION, or IAM."),
        ({"SECRET": "x", "REGION": "us-east-1", "SECRETS": 1}, "LOGIN has unknown keys: SECRETS."),
        ({"REGION": "us-east-1"}, "LOGIN must have SECRET and REGION, or IAM."),
    ],
)
def test_invalid_settings(made, login, message):
    with pytest.raises(ImproperlyConfigured, match=message):
        made.connection(made.password(1), LOGIN=login).ensure_connection()


def test_another_tenant_gets_its_own_login(made, settings, monkeypatch):
    """`LOGIN` of the host's alias would replace it by the login of the process's tenant."""
    other = f"{made.name}_b"
    made.make_role(other, made.password(2))
    for key, value in made.settings(made.password(1)).items():
        monkeypatch.setitem(settings.DATABASES["default"], key, value)
    with default_connection_to(Login(made.postgres.address, other, Secret(made.password(2))), "postgres") as opened:
        assert (session(opened)[0], "LOGIN" in opened.settings_dict) == (other, False)
        with pytest.raises(Exception, match="password authentication failed"):
            wrong = Login(made.postgres.address, other, Secret(made.password(3)))
            with default_connection_to(wrong, "postgres"):
                raise AssertionError("the login was accepted")
    assert made.reads == []
