"""The demo itself: the walk of the guide, a second walk that changes nothing, and Ctrl-C half way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pytest

from localcloud import attach, stop
from localcloud.environment import ACCESS_KEY, REGION, SECRET_NAME

ROOT = Path(__file__).parent.parent
TENANTS = ["fintech_experiment", "healthtech_experiment", "startupwebapp_prod"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A local cloud's directory of its own, where the server's user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="deploytools-demo-")) / "cloud"
    path.parent.chmod(0o711)
    yield path
    stop(path)
    shutil.rmtree(path.parent)


def demo(directory: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["scripts/demo", *options],
        cwd=ROOT,
        env=os.environ | {"DEPLOYTOOLS_LOCALCLOUD": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def world(directory: Path) -> tuple[Any, ...]:
    """Everything that a second walk could change: the secret's versions, the databases, their rows."""
    cloud = attach(directory)
    client = boto3.client(
        "secretsmanager",
        endpoint_url=cloud.aws_endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
    )
    versions = client.describe_secret(SecretId=SECRET_NAME)["VersionIdsToStages"]
    content = client.get_secret_value(SecretId=SECRET_NAME, VersionStage="AWSCURRENT")["SecretString"]
    with psycopg.connect(**cloud.as_superuser()) as admin:
        databases = admin.execute("SELECT datname, datacl::text, datdba FROM pg_database ORDER BY 1").fetchall()
    return versions, content, databases, [rows(cloud.as_superuser(dbname=tenant)) for tenant in TENANTS]


def rows(connection: dict[str, Any]) -> list[tuple[str, int]]:
    """How many rows each table of the shop and of Django's users has."""
    with psycopg.connect(**connection) as session:
        names = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        return [(name, session.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]) for (name,) in names]  # noqa: S608


def left_over(directory: Path) -> list[str]:
    return [
        line
        for line in (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
        if str(directory) in line
    ]


def test_the_walk_and_a_second_one_that_changes_nothing(directory):
    first = demo(directory, "--keep")
    out, _ = first.communicate(timeout=300)
    assert first.returncode == 0, out
    for step in ("1", "4", "5", "6", "7", "8", "9", "10", "11"):
        assert f"── Step {step}" in out
    assert out.count("\n57 tables\n") == len(TENANTS)
    assert "✗ The RDS instance is protected against deletion" in out
    before = world(directory)
    assert [len(tables) for tables in before[3]] == [57, 57, 57]

    second = demo(directory, "--keep")
    again, _ = second.communicate(timeout=300)
    assert second.returncode == 0, again
    assert "Nothing to change: every value given is there already." in again
    assert "Everything is in place." in again
    assert "There is one already." in again
    assert world(directory) == before


def test_ctrl_c_half_way_leaves_nothing_behind(directory):
    running = demo(directory)
    assert running.stdout is not None
    for line in running.stdout:
        if "── Step 5" in line:
            break
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130, out
    assert "Traceback" not in out
    assert not directory.exists()
    assert left_over(directory) == []
