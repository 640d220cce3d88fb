"""No request fails while credentials are rotated: gunicorn with the shop, PostgreSQL, two clients without pause."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from deploytools.errors import ConnectionFailed
from deploytools.local.ports import reserve
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Secret
from tests.conftest import DEFAULT_VERSION, versions
from tests.deployment import Deployment
from tests.management.runner import ROTATE, run
from tests.postgres_server import scram

ROOT = Path(__file__).parents[2]
CLIENTS, ROTATIONS, SHORT = 2, 10, 3
READY = 600
ATTEMPTS = 240

pytestmark = pytest.mark.slow


class Client(threading.Thread):
    """Requests a page that reads the database, without pause; counts the responses by status."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.results, self.is_done = port, Counter[str](), threading.Event()
        self.seconds: list[float] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def run(self) -> None:
        while not self.is_done.is_set():
            self.may_run.wait()
            started = time.monotonic()
            self.results[self.request()] += 1
            self.seconds.append(time.monotonic() - started)

    def request(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Host": "localhost", "X-Forwarded-Proto": "https"}
            connection.request("GET", "/order/products", headers=headers)
            return str(connection.getresponse().status)
        except OSError as error:
            return type(error).__name__
        finally:
            connection.close()


@contextmanager
def serving(deployment: Deployment, load: str, log: Path) -> Iterator[int]:
    """Run gunicorn with the first tenant; yield its port."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        **deployment.environment,
        "DJANGO_SETTINGS_MODULE": "tests.rotation.load_settings",
        "LOAD": load,
    }
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True, timeout=300)
    command = [sys.executable, "-m", "gunicorn", "StartupWebApp.wsgi", "--workers", "2", "--threads", "2"]
    with reserve() as port, log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--bind", f"fd://{port.fileno()}"],
            cwd=ROOT, env=environment, pass_fds=[port.fileno()], stdout=output, stderr=output,
        )  # fmt: skip
        number = port.getsockname()[1]
    try:
        probe = Client(number)
        for _ in range(READY):
            if probe.request() == "200":
                break
            time.sleep(0.1)
        else:
            raise AssertionError(log.read_text())
        yield number
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def clients(port: int) -> Iterator[list[Client]]:
    running = [Client(port) for _ in range(CLIENTS)]
    for client in running:
        client.start()
    try:
        yield running
    finally:
        for client in running:
            client.is_done.set()
        for client in running:
            client.join()


@contextmanager
def paused(running: list[Client]) -> Iterator[None]:
    """Pause the clients, so that their sessions are idle; 1 s is long enough here."""
    for client in running:
        client.may_run.clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("deploytools.rotation.rotation_plan.IDLE", 1)
            yield
    finally:
        for client in running:
            client.may_run.set()


def results(running: list[Client]) -> Counter[str]:
    return sum((client.results for client in running), Counter[str]())


def percentile(running: list[Client]) -> float:
    seconds = sorted(value for client in running for value in client.seconds)
    return seconds[int(len(seconds) * 0.99)]


def can_log_in(deployment: Deployment, document: dict[str, Any]) -> bool:
    login = Login(deployment.postgres.address, document["username"], Secret(document["password"]))
    try:
        login.connect(deployment.tenants[0]).close()
    except ConnectionFailed:
        return False
    return True


def finish(capsys: pytest.CaptureFixture[str], options: Sequence[str]) -> None:
    """Run --finish until no session uses the former login."""
    command = ("rotate_credentials", "password", *ROTATE, *options, "--finish", "--end-sessions")
    for _ in range(ATTEMPTS):
        if not (result := run(capsys, *command)).code:
            return
        in_use = ("is in use by" in result.err, "was opened since" in result.err)
        assert any(in_use) or "connected since" in result.out, result  # Opened while it was closed.
        time.sleep(0.5)
    raise AssertionError(result)


@pytest.fixture
def own_role(deployment: Deployment, settings: Any) -> Deployment:
    """The deployment with a role for each tenant; its secret is that of the first tenant."""
    isolation = {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": f"{deployment.name}/tenant/"}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | isolation
    return replace(deployment, environment={**deployment.environment, **isolation})


def rotate_ten_times(
    capsys: pytest.CaptureFixture[str], deployment: Deployment, load: str, log: Path, secret: str, *options: str
) -> None:
    """Rotate under load. No request fails, and each former password is refused.

    With CONN_MAX_AGE 600, sessions of the former login end only if they are idle: the clients pause.
    """
    if load == "pool":
        pytest.importorskip("psycopg_pool")
    number = ROTATIONS if deployment.postgres.version == DEFAULT_VERSION else SHORT
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with serving(deployment, load, log) as port:
        with clients(port) as quiet:
            time.sleep(5)
        with clients(port) as running:
            for _ in range(number):
                former = deployment.document(secret)
                assert run(capsys, "rotate_credentials", "password", *ROTATE, *options).code == 0
                with paused(running) if load == "600" else nullcontext():
                    finish(capsys, options)
                current = deployment.document(secret)
                assert (can_log_in(deployment, former), can_log_in(deployment, current)) == (False, True)
        assert set(results(running)) == {"200"}
        assert run(capsys, "create_tenant_dbs", "--check").code == 0
    with capsys.disabled():
        p99 = f"p99 {percentile(running) / percentile(quiet):.2f} of a quiet run"
        print(deployment.postgres.version, load, *options, results(running), p99)  # noqa: T201


@pytest.mark.parametrize("load", ["0", "3", "600", "pool"])
@pytest.mark.parametrize("one_postgres", versions({15, 16, 18}), indirect=True)
def test_ten_rotations(capsys, deployment: Deployment, tmp_path: Path, load: str):
    rotate_ten_times(capsys, deployment, load, tmp_path / "log", deployment.name)


@pytest.mark.parametrize("load", ["0", "600", "pool"])
def test_ten_rotations_of_a_tenant_with_its_own_role(capsys, own_role: Deployment, tmp_path: Path, load: str):
    tenant = own_role.tenants[0]
    secret = f"{own_role.name}/tenant/{tenant}"
    rotate_ten_times(capsys, own_role, load, tmp_path / "log", secret, "--tenant", tenant)


def rotate_as_aws(deployment: Deployment) -> None:
    """Do the four steps of AWS's function for a single user, one second apart. It knows nothing of these tools."""
    secret, client = deployment.name, deployment.client
    current = client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
    values = json.loads(current["SecretString"]) | {"password": f"{time.monotonic_ns():040}"}
    new = client.put_secret_value(SecretId=secret, SecretString=json.dumps(values), VersionStages=["AWSPENDING"])
    time.sleep(1)
    with deployment.postgres.admin() as admin:
        verifier = scram(admin, values["username"], Secret(values["password"]))
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        admin.execute(statement.format(sql.Identifier(values["username"]), sql.Literal(verifier)))
    time.sleep(1)
    assert can_log_in(deployment, values)
    time.sleep(1)
    client.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT",
        MoveToVersionId=new["VersionId"], RemoveFromVersionId=current["VersionId"],
    )  # fmt: skip
    time.sleep(1)


@pytest.mark.parametrize("load", ["0", "pool", "django"])
def test_the_rotation_of_aws_for_a_single_user(capsys, deployment: Deployment, tmp_path: Path, load: str):
    """Without the backend, requests fail: the control."""
    if load == "pool":
        pytest.importorskip("psycopg_pool")
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with serving(deployment, load, tmp_path / "log") as port, clients(port) as running:
        for _ in range(3):
            rotate_as_aws(deployment)
    print(load, results(running))  # noqa: T201
    assert ("500" in results(running)) is (load == "django")
    assert set(results(running)) <= {"200", "500"}
