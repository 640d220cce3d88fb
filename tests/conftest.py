"""Fixtures that share one local cloud between all tests and all pytest-xdist workers.

DEPLOYTOOLS_ALL_POSTGRES=1 (CI) makes a missing version of PostgreSQL a failure instead of a skip.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.conf import settings as django_settings

from deploytools.databases.server import Login, ServerAddress
from deploytools.secret.value import Secret
from localcloud import CloudState, LocalCloud, PostgresBinaries, PostgresState, find_installations
from localcloud.environment import MISLEADING, variables
from tests.deployment import Deployment
from tests.postgres import Postgres

#: The versions that CI must have: the system's 15, the wheel's 16 and 18, and those that `scripts/postgresql` brings.
#: Others that are here are tested, too.
REQUIRED_VERSIONS = {14, 15, 16, 17, 18}
#: Those that only slow tests run on; they are started only where such a test was chosen.
SLOW_VERSIONS = {14, 17}
#: The oldest and the newest of the others; on these alone a test of every version is not slow.
QUICK_VERSIONS = {15, 18}
INSTALLED = {found.major: found for found in reversed(find_installations())}

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)


def pytest_configure() -> None:
    """Let what the tests interrupt be interrupted: a shell's background job ignores SIGINT, and so do its children."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def versions(numbers: Iterable[int]) -> list[Any]:
    """Versions of PostgreSQL as parameters of a fixture."""
    return [
        pytest.param(number, id=f"pg{number}", marks=[] if number in QUICK_VERSIONS else [pytest.mark.slow])
        for number in sorted(numbers)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of one version that is marked so runs on those of slow tests as well."""
    if metafunc.definition.get_closest_marker("other_versions"):
        metafunc.parametrize("one_postgres", versions({max(INSTALLED), *SLOW_VERSIONS}), indirect=True)


def _started(session: pytest.Session) -> list[PostgresBinaries]:
    """The servers that the chosen tests need, the newest first: every worker finds the same."""
    parameters = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
    asked = {chosen[name] for chosen in parameters for name in ("postgres", "one_postgres") if name in chosen}
    needed = INSTALLED.keys() - (SLOW_VERSIONS - asked)
    return [INSTALLED[major] for major in sorted(needed, reverse=True)]


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest) -> Iterator[CloudState]:
    """PostgreSQL of every version, the AWS emulator, SMTP. The last worker to leave ends it."""
    directory = Path(tempfile.gettempdir(), f"deploytools-tests-{RUN[:12]}")
    with LocalCloud(directory, postgres=_started(request.session)) as state:
        yield state


def installed(version: int) -> PostgresBinaries:
    """The server's programs; without them the test is skipped and, where all versions must be there, fails."""
    if version not in INSTALLED:
        remedy = f" Run: scripts/postgresql {version}" if version in SLOW_VERSIONS else ""
        message = f"There is no PostgreSQL {version} on this machine.{remedy}"
        if os.environ.get("DEPLOYTOOLS_ALL_POSTGRES"):
            pytest.fail(message)
        pytest.skip(message)
    return INSTALLED[version]


def _server(cloud: CloudState, version: int) -> Postgres:
    installed(version)
    (found,) = [server for server in cloud.postgres if server.major == version]
    address = _address(found)
    return Postgres(
        version,
        address,
        superuser=Login(address, "rdsadmin", Secret(cloud.rdsadmin_password)),
        master=Login(address, "postgres", Secret(cloud.master_password)),
        log_file=Path(found.log_file),
    )


def _address(server: PostgresState) -> ServerAddress:
    return ServerAddress(server.host, server.port, server.hostaddr, "verify-full", server.ca_file)


@pytest.fixture(params=versions(REQUIRED_VERSIONS | INSTALLED.keys()))
def postgres(request: pytest.FixtureRequest, cloud: CloudState) -> Postgres:
    """Each version of PostgreSQL in turn."""
    return _server(cloud, request.param)


@pytest.fixture
def one_postgres(request: pytest.FixtureRequest, cloud: CloudState) -> Postgres:
    """One version, for what does not depend on it; with `other_versions` those that only slow tests run on, too."""
    return _server(cloud, getattr(request, "param", max(INSTALLED)))


@pytest.fixture
def aws_environment(cloud: CloudState, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process pointed at the local cloud, and away from any real account."""
    for name in MISLEADING:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables(cloud).items():
        monkeypatch.setenv(name, value)
    return variables(cloud)


@pytest.fixture
def deployment(
    one_postgres: Postgres, aws_environment: dict[str, str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """A secret, a role and two tenants of its own, and the settings that name them."""
    client = boto3.client("secretsmanager")
    name, address = one_postgres.fresh_name(), one_postgres.address
    made = Deployment(
        name,
        one_postgres,
        client,
        aws_environment
        | {
            "DB_SECRET_NAME": name,
            "DB_SSLROOTCERT": address.sslrootcert,
            "TENANTS": f"{name}_one,{name}_two",
            "DATABASE_NAME": f"{name}_one",
            "ALLOWED_HOSTS": "localhost",
        },
    )
    client.create_secret(Name=name)
    made.put()
    settings.DEPLOYTOOLS = django_settings.DEPLOYTOOLS | {
        "SECRET_NAME": name,
        "TENANTS": made.tenants,
        "HOSTADDR": address.hostaddr,
        "SSLMODE": address.sslmode,
        "SSLROOTCERT": address.sslrootcert,
    }
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", made.tenants[0])
    yield made
    one_postgres.sweep(name)
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(cloud: CloudState, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Django's test database is made by the master, not on the server on which others look for ``test_*`` databases."""
    server = min(cloud.postgres, key=lambda server: (server.major in SLOW_VERSIONS, server.major))
    from django.db import connections

    connections["default"].settings_dict |= {
        "HOST": server.host,
        "PORT": str(server.port),
        "USER": "postgres",
        "PASSWORD": cloud.master_password,
        "OPTIONS": {"hostaddr": server.hostaddr, "sslmode": "verify-full", "sslrootcert": server.ca_file},
    }
