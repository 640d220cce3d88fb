"""A fleet migrated by the very commands of the Batch and Kubernetes definitions: one part killed, retried, merged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.fleet.world import Fleet, ended, make_databases
from tests.management.test_migrate_tenants import is_alive, is_migrating, wait_until

ROOT = Path(__file__).parent.parent.parent
BATCH = json.loads((ROOT / "deploy/aws/batch-migrate.json").read_text())["containerProperties"]["command"]
JOB = yaml.safe_load((ROOT / "deploy/kubernetes/migrate.yaml").read_text())["spec"]["template"]["spec"]
SIZE = 3


def test_kubernetes_runs_what_batch_runs():
    words = [word.replace("JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX") for word in JOB["containers"][0]["args"]]
    assert words == BATCH


@pytest.mark.slow
def test_one_part_is_killed_and_retried_and_the_reports_merge(deployment, tmp_path):
    names = [f"{deployment.name}_{number:02}" for number in range(7)]
    make_databases(deployment.postgres, deployment.login(), names)
    fleet = Fleet(deployment, names)
    assert fleet.run("v1").code == 0
    reports = tmp_path / "reports"
    reports.mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    path = f"{Path(sys.executable).parent}:{tmp_path / 'bin'}:{fleet.environment('v1')['PATH']}"

    def start(index: int) -> subprocess.Popen[str]:
        array = {"AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": str(SIZE)}
        variables = array | {"REPORTS": str(reports), "PATH": path}
        return subprocess.Popen(
            BATCH, cwd=ROOT, env=fleet.environment("waiting", **variables), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    parts = [start(index) for index in range(SIZE)]
    wait_until(lambda: is_migrating(fleet, names[1]))
    children = psutil.Process(parts[1].pid).children()
    parts[1].kill()
    for name in names:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    parts[1].communicate()
    wait_until(lambda: not any(map(is_alive, children)))
    assert [ended(parts[index]).code for index in (0, 2)] == [0, 0]
    files = [str(reports / f"{index}.json") for index in range(SIZE)]

    assert sorted(path.name for path in reports.iterdir()) == ["0.json", "2.json"]
    incomplete = fleet.run("waiting", "--merge", files[0], files[2], noinput=False)
    assert (incomplete.code, "There is no report of shard 1/3." in incomplete.err) == (2, True)

    assert ended(start(1)).code == 0
    merged = fleet.run("waiting", "--merge", *files, "--format", "json", noinput=False)
    assert merged.code == 0
    outcomes = {entry["tenant"]: entry["outcome"] for entry in json.loads(merged.out)["tenants"]}
    assert sorted(outcomes) == names
    assert set(outcomes.values()) <= {"migrated", "up to date"}
    assert all(len(fleet.applied(name)) == 2 for name in names)
