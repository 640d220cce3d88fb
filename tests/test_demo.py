"""The demo: a first run, a second run that changes nothing but the password, and Ctrl-C halfway."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pytest

from tests.local_cloud import NAMES, ROOT

#: What a rotation changes in the secret.
ROTATED = {"username", "password", "rotated_at"}
TENANTS = ["fintech_experiment", "healthtech_experiment", "startupwebapp_prod"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


def demo(*options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["scripts/demo", *options],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def output_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    return "".join(lines)


def environment_of(file: str) -> dict[str, str]:
    """The variables that the file sets in a shell."""
    script = '. "$0"; exec env --null'
    done = subprocess.run(["sh", "-euc", script, file], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.rstrip("\0").split("\0"))


def state_of(cloud: Mapping[str, str]) -> tuple[Any, ...]:
    """Everything that a second run could change, except the login: the secret, the databases, their rows."""
    client = boto3.client(
        "secretsmanager",
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        region_name=NAMES.region,
        aws_access_key_id=cloud["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud["AWS_SECRET_ACCESS_KEY"],
    )
    content = client.get_secret_value(SecretId=NAMES.secret, VersionStage="AWSCURRENT")["SecretString"]
    secret = json.loads(content)
    connection = {
        "host": secret["host"],
        "port": secret["port"],
        "user": secret["username"],
        "password": secret["password"],
        "hostaddr": cloud["PGHOSTADDR"],
        "sslmode": "verify-full",
        "sslrootcert": cloud["PGSSLROOTCERT"],
    }
    with psycopg.connect(**connection, dbname=TENANTS[0]) as session:
        databases = session.execute("SELECT datname, datacl::text, datdba FROM pg_database ORDER BY 1").fetchall()
    others = {key: value for key, value in secret.items() if key not in ROTATED}
    return others, databases, [rows(connection | {"dbname": tenant}) for tenant in TENANTS]


def rows(connection: dict[str, Any]) -> list[tuple[str, int]]:
    """The number of rows of each table of the tenant."""
    with psycopg.connect(**connection) as session:
        names = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        return [(name, session.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]) for (name,) in names]  # noqa: S608


def processes_with(text: str) -> list[str]:
    lines = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    return [line for line in lines if text in line]


def test_a_second_run_changes_nothing_but_the_password():
    first = demo("--keep")
    try:
        out = output_until(first, "Quit with Ctrl-C.")
        for step in ("1", "4", "5", "6", "7", "8", "9", "10", "11"):
            assert f"── Step {step}" in out
        assert out.count("\n57 tables\n") == len(TENANTS)
        assert "rds.deletion-protection" in out
        found = re.search(r"run: \. (\S+)$", out, re.MULTILINE)
        assert found, out
        cloud = environment_of(found[1])
        before = state_of(cloud)
        assert [len(tables) for tables in before[2]] == [57, 57, 57]

        second = demo(**cloud)
        again, _ = second.communicate(timeout=300)
        assert second.returncode == 0, again
        assert "No changes: the secret already has all given values." in again
        assert "The superuser admin already exists." in again
        assert state_of(cloud) == before

        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(60) == 0
        assert not Path(found[1]).parent.exists()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)  # The command of the local cloud, too: it has the pipe.
        first.communicate(timeout=60)


def test_ctrl_c_halfway_leaves_nothing_behind(accessible):
    running = demo(TMPDIR=str(accessible))
    out = output_until(running, "── Step 5")
    os.killpg(running.pid, signal.SIGINT)
    out += running.communicate(timeout=60)[0]
    assert running.returncode == 130, out
    assert "Traceback" not in out
    assert list(accessible.iterdir()) == []
    assert processes_with(str(accessible)) == []
