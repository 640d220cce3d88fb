"""Run the commands of the AWS Batch and Kubernetes definitions: a shard is killed, retried, and the reports merge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.fleet.world import Fleet, ended, is_alive, is_migrating, make_databases, wait_until

ROOT = Path(__file__).parent.parent.parent
BATCH = json.loads((ROOT / "deploy/aws/batch-migrate.json").read_text())["containerProperties"]["command"]
JOB = yaml.safe_load((ROOT / "deploy/kubernetes/migrate.yaml").read_text())["spec"]["template"]["spec"]
SIZE = 3


def test_kubernetes_and_batch_run_the_same_command():
    words = [word.replace("JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX") for word in JOB["containers"][0]["args"]]
    assert words == BATCH


@pytest.mark.slow
def test_killed_shard_is_retried_and_reports_merge(deployment, tmp_path):
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

    shards = [start(index) for index in range(SIZE)]
    wait_until(lambda: is_migrating(fleet, names[1]))
    children = psutil.Process(shards[1].pid).children()
    shards[1].kill()
    for name in names:
        fleet.execute(name, "INSERT INTO fleet_note (text) VALUES ('go on')")
    shards[1].communicate()
    wait_until(lambda: not any(map(is_alive, children)))
    assert [ended(shards[index]).code for index in (0, 2)] == [0, 0]
    files = [str(reports / f"{index}.json") for index in range(SIZE)]

    assert sorted(path.name for path in reports.iterdir()) == ["0.json", "2.json"]
    incomplete = fleet.run("waiting", "--merge", files[0], files[2], noinput=False)
    assert (incomplete.code, "The report of shard 1/3 is missing." in incomplete.err) == (2, True)

    assert ended(start(1)).code == 0
    merged = fleet.run("waiting", "--merge", *files, "--format", "json", noinput=False)
    assert merged.code == 0
    outcomes = {entry["tenant"]: entry["outcome"] for entry in json.loads(merged.out)["tenants"]}
    assert sorted(outcomes) == names
    assert set(outcomes.values()) <= {"migrated", "up to date"}
    assert all(len(fleet.applied(name)) == 2 for name in names)
