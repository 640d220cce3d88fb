"""Fixtures: one local cloud for all tests and all pytest-xdist workers; PostgreSQL servers and AWS accounts on it.

DEPLOYTOOLS_ALL_POSTGRES=1 (CI) makes a missing version of PostgreSQL a failure instead of a skip.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest
from django.conf import settings as django_settings
from django.db.backends.postgresql.features import DatabaseFeatures
from filelock import FileLock

from deploytools import aws
from deploytools.local import CloudState, PostgresBinaries, PostgresState, find_installations
from deploytools.local.cloud_environment import CONFLICTING
from deploytools.postgres.connections import Login, ServerAddress
from deploytools.secrets.document import Secret
from tests import local_cloud
from tests.deployment import Deployment
from tests.management.runner import run
from tests.postgres_server import Postgres

pytest_plugins = ["deploytools.testing"]

#: The oldest version that Django supports: 14, and from Django 6.1 on 15.
(OLDEST_VERSION,) = DatabaseFeatures.minimum_database_version or (14,)
#: Must be installed in CI: the system's 15, the wheel's 16 and 18, and those that `scripts/postgresql` installs.
#: Other installed versions are tested, too.
REQUIRED_VERSIONS = {version for version in (14, 15, 16, 17, 18) if version >= OLDEST_VERSION}
#: Installed by `scripts/postgresql`.
OPTIONAL_VERSIONS = {14, 17} & REQUIRED_VERSIONS
INSTALLED = {found.major: found for found in reversed(find_installations()) if found.major >= OLDEST_VERSION}
#: All tests run on it. Tests on the other versions are slow.
DEFAULT_VERSION = max(INSTALLED)
CLOUD = pytest.StashKey[subprocess.Popen[str]]()


#: No limit of time: other tests run on the same cores.
PROFILE = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("all", PROFILE)
hypothesis.settings.register_profile("quick", PROFILE, max_examples=25)


def pytest_configure(config: pytest.Config) -> None:
    """Use fewer examples of properties without the slow tests; CI uses Hypothesis's default.

    Handle SIGINT, which background jobs of a shell ignore, and SIGHUP, which nohup ignores: tests send both.
    """
    hypothesis.settings.load_profile("quick" if config.option.markexpr == "not slow" else "all")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Collect garbage less often: each collection visits all objects of thousands of tests."""
    gc.freeze()
    gc.set_threshold(100_000)


def versions(numbers: Iterable[int]) -> list[Any]:
    """Return PostgreSQL versions as parameters of a fixture; all but the default one are slow."""
    return [
        pytest.param(number, id=f"pg{number}", marks=[] if number == DEFAULT_VERSION else [pytest.mark.slow])
        for number in sorted(numbers)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the marker `other_versions` on PostgreSQL 14 and 17, too."""
    if metafunc.definition.get_closest_marker("other_versions"):
        metafunc.parametrize("one_postgres", versions({DEFAULT_VERSION, *OPTIONAL_VERSIONS}), indirect=True)


@pytest.hookimpl(tryfirst=True)  # Before pytest-xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of Django's test database in one worker, because each worker would create another one."""
    for item in items:
        uses_it = item.get_closest_marker("django_db") or "django_db_setup" in getattr(item, "fixturenames", ())
        if uses_it and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("django_db"))


def _required_versions(session: pytest.Session) -> list[int]:
    """Return the versions that the selected tests use, the newest first. All workers get the same list."""
    parameters = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
    used = {found[name] for found in parameters for name in ("postgres", "one_postgres", "server") if name in found}
    return sorted(INSTALLED.keys() & (used | {DEFAULT_VERSION}), reverse=True)


@pytest.fixture(scope="session")
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[CloudState]:
    """PostgreSQL of each required version, the AWS emulator, SMTP: one for all pytest-xdist workers.

    The first worker starts it (pytest-xdist: "Making session-scoped fixtures execute only once"). It ends with the
    process of that worker, which lives as long as the run.
    """
    base = tmp_path_factory.getbasetemp()
    file = (base if worker_id == "master" else base.parent) / "local-cloud.json"
    with FileLock(f"{file}.lock"):
        process = None if file.is_file() else local_cloud.start(file, _required_versions(request.session))
    yield CloudState.from_json(file.read_text(encoding="utf-8"))
    if process and worker_id == "master":
        process.communicate()
    elif process:
        request.config.stash[CLOUD] = process  # Other workers may still use it.


def installed(version: int) -> PostgresBinaries:
    """Return the installation. If it is missing, skip the test, or fail it with DEPLOYTOOLS_ALL_POSTGRES."""
    if version not in INSTALLED:
        hint = f" Run: scripts/postgresql {version}" if version in OPTIONAL_VERSIONS else ""
        message = f"PostgreSQL {version} is not installed.{hint}"
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
    """The default version; with the marker `other_versions` also 14 and 17."""
    return _server(cloud, getattr(request, "param", DEFAULT_VERSION))


@pytest.fixture
def aws_environment(cloud: CloudState, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Point this process at the local cloud and away from any AWS account."""
    for name in CONFLICTING:
        monkeypatch.delenv(name, raising=False)
    variables = local_cloud.shop_variables(cloud)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def deployment(
    one_postgres: Postgres,
    aws_environment: dict[str, str],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: Any,
) -> Iterator[Deployment]:
    """A separate secret, role and two tenants, with their settings. Django's connection is that of the first tenant."""
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
        settings.DATABASES["default"],
    )
    verified = {"sslmode": address.sslmode, "sslrootcert": address.sslrootcert, "hostaddr": address.hostaddr}
    given = {"NAME": made.tenants[0], "OPTIONS": verified} | dict.fromkeys(("HOST", "PORT", "USER", "PASSWORD"), "")
    for key, value in given.items():
        monkeypatch.setitem(made.database, key, value)
    client.create_secret(Name=name)
    made.put()
    settings.DEPLOYTOOLS = django_settings.DEPLOYTOOLS | {
        "SECRET_NAME": name,
        "TENANTS": made.tenants,
        "HOSTADDR": address.hostaddr,
        "SSLMODE": address.sslmode,
        "SSLROOTCERT": address.sslrootcert,
    }
    with django_db_blocker.unblock():
        yield made
    one_postgres.sweep(name)
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def made(capsys: pytest.CaptureFixture[str], deployment: Deployment) -> Deployment:
    """The deployment with its databases created."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


@pytest.fixture(scope="session")
def django_db_modify_db_settings(cloud: CloudState, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Create Django's test database as the master user, with a name that no check takes for a leftover ``test_*``."""
    from django.db import connections

    server = cloud.main
    connection = connections["default"].settings_dict
    connection["TEST"]["NAME"] = f"django_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    verified = {"sslmode": "verify-full", "sslrootcert": server.ca_file}
    has_tls = server.internal_port == server.port  # Else connect to the server itself, not to its slower TLS proxy.
    connection |= {
        "HOST": server.host,
        "PORT": str(server.internal_port),
        "USER": "postgres",
        "PASSWORD": cloud.master_password,
        "OPTIONS": {"hostaddr": server.hostaddr} | (verified if has_tls else {"sslmode": "disable"}),
    }


@pytest.fixture
def accessible() -> Iterator[Path]:
    """A directory that the user that runs PostgreSQL can enter; pytest's own are closed to other users."""
    path = Path(tempfile.mkdtemp(prefix="deploytools-tests-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The IAM actions of all calls."""
    seen: set[str] = set()
    translate = aws.translate_aws_errors

    @contextmanager
    def recorded(action: str, resource: str) -> Any:
        seen.add(action)
        with translate(action, resource):
            yield

    monkeypatch.setattr(aws, "translate_aws_errors", recorded)
    return seen
