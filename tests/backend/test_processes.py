"""Recovery in other processes: after a fork, in `dbshell`; nothing shows a password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import ConnectionHandler

from deploytools.settings import production_settings
from tests.backend.world import World
from tests.deployment import Deployment
from tests.forked import manage
from tests.management.runner import run

ROOT = Path(__file__).parents[2]

#: The parent has read the secret, and another thread of it holds the lock and reads while it forks, as gunicorn with
#: --preload can. Each process prints the login of its session.
FORK = """
import json, logging, os, sys, threading
from django.conf import settings
from django.db import connection, connections

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
settings.configure(DATABASES={"default": json.loads(sys.stdin.readline())})

def show():
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user::text, pg_backend_pid()")
        print("session of", cursor.fetchone()[0], flush=True)
    connections.close_all()

def refuse():
    try:
        connection.ensure_connection()
    except Exception as error:
        print("refused", error, flush=True)

show()
print("ready", flush=True)
sys.stdin.readline()
source = connection.login_source
source._lock.acquire()
source._reading = __import__("concurrent.futures").futures.Future()
child = os.fork()
if child == 0:
    show()
    os._exit(0)
print("exit code", os.waitpid(child, 0)[1], flush=True)
source._lock.release()
source._reading = None
sys.stdin.readline()
refuse()
"""


@pytest.mark.slow
def test_a_fork_while_another_thread_reads(made: World):
    settings = made.settings(made.password(1))
    made.set_role(made.name, made.password(2))
    made.put(made.name, made.password(2))
    with subprocess.Popen(
        [sys.executable, "-c", FORK], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        lines = [""]
        while lines[-1] != "ready\n":
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        made.set_role(made.name, made.password(3))
        made.put(made.name, made.password(3))
        process.stdin.write("fork\n")
        process.stdin.flush()
        while not lines[-1].startswith("exit code"):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        made.set_role(made.name, made.password(4))
        lines.append(process.communicate("refuse\n", timeout=60)[0])
    output = "".join(lines)
    assert (output.count(f"session of {made.name}\n"), "exit code 0\n" in output) == (2, True), output
    assert output.count("INFO:deploytools.backend:The database login") == 2
    assert "refused" in output
    shown = output + made.postgres.log()
    assert [number for number in range(1, 5) if made.password(number) in shown] == []


@pytest.mark.slow
def test_dbshell_has_the_login_that_works(deployment: Deployment, capsys: pytest.CaptureFixture[str]):
    """Between two steps of a rotation, the login of AWSPENDING."""
    if not any(os.access(Path(folder, "psql"), os.X_OK) for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("psql is not installed")
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    password = f"canary-pending-{deployment.name}"
    content = json.dumps({"username": deployment.role, "password": password})
    deployment.client.put_secret_value(SecretId=deployment.name, SecretString=content, VersionStages=["AWSPENDING"])
    with deployment.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {deployment.role} PASSWORD '{password}'".encode())
    environment = {
        "PATH": os.environ["PATH"],
        "PGHOSTADDR": deployment.postgres.address.hostaddr,  # Django does not pass the option on.
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        **deployment.environment,
        "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production",
    }
    result = manage("dbshell", "--", "-tAc", "SELECT session_user", environment=environment)
    assert (result.out, result.code) == (f"{deployment.role}\n", 0), result
    assert password not in result.out + result.err


@pytest.mark.slow
def test_a_role_per_tenant(deployment: Deployment, capsys: pytest.CaptureFixture[str], settings: Any):
    """The production settings of a tenant's process read the login again from the tenant's own secret."""
    prefix = f"{deployment.name}/tenant/"
    options = settings.DEPLOYTOOLS | {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix}
    settings.DEPLOYTOOLS = options
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    tenant = deployment.tenants[1]
    base = {"DEPLOYTOOLS": options, "DATABASES": {}}
    handler = ConnectionHandler(production_settings(base, tenant=tenant, allowed_hosts=["x"])["DATABASES"])
    values = json.loads(deployment.client.get_secret_value(SecretId=prefix + tenant)["SecretString"])
    values["password"] = f"another-password-of-{tenant}-0123456789"
    deployment.client.put_secret_value(SecretId=prefix + tenant, SecretString=json.dumps(values))
    with deployment.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {tenant} PASSWORD '{values['password']}'".encode())
    with handler["default"].cursor() as cursor:
        cursor.execute("SELECT session_user::text, current_database()::text")
        assert cursor.fetchone() == (tenant, tenant)
    handler.close_all()
