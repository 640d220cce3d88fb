"""Clouds start, are shared, end, and leave nothing behind however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from localcloud import CloudState, LocalCloud, attach, stop
from localcloud.errors import LocalCloudError
from tests.localcloud.running import (
    all_ended,
    arguments,
    environment,
    localcloud,
    processes_of,
    running_in,
    wait_for,
)

OWNER = """
import sys, time
from localcloud import LocalCloud
with LocalCloud(sys.argv[1]):
    time.sleep(100)
"""


def test_two_clouds_side_by_side_and_the_last_owner_to_be_killed_ends_one(cloud: CloudState, directory: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(directory)], env=environment())
    mine = wait_for(lambda: running_in(directory))
    processes = processes_of(mine)
    assert mine.supervisor_pid != cloud.supervisor_pid
    with LocalCloud(directory) as same:
        assert same == mine
        for state in (cloud, mine):
            with psycopg.connect(**state.as_master()) as connection:
                assert connection.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(**{**mine.as_master(), "sslrootcert": cloud.ca_file})
    assert attach(directory) == mine

    owner.kill()
    owner.wait()
    assert all_ended(processes)
    assert wait_for(lambda: not directory.exists())


def test_an_owner_killed_while_it_starts_leaves_nothing(directory: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(directory)], env=environment())
    wait_for(lambda: (directory / "servers").exists())
    owner.kill()
    owner.wait()
    assert wait_for(lambda: not directory.exists())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_supervisor_leaves_no_postgres(directory: Path) -> None:
    with LocalCloud(directory) as state:
        processes = processes_of(state)
        os.kill(state.supervisor_pid, signal.SIGKILL)
        assert all_ended(processes)
        assert wait_for(lambda: running_in(directory) is None)
    assert not directory.exists()


@pytest.fixture
def stale(directory: Path) -> Path:
    """What a supervisor leaves that was killed."""
    (directory / "servers" / "0" / "data").mkdir(parents=True)
    (directory / "owners.lock").touch()
    (directory / "state.json").write_text("{", encoding="utf-8")
    (directory / "supervisor.lock").write_text("1\n", encoding="utf-8")
    return directory


def test_what_a_killed_supervisor_left_is_removed_by_down(stale: Path) -> None:
    assert stop(stale) is False
    assert not stale.exists()


def test_up_status_up_status_down(stale: Path) -> None:
    directory = stale  # which up clears away
    place = ("--dir", str(directory))
    code, out, err = localcloud("up", *place)
    assert (code, out.count("answers"), err) == (0, 3, "")
    state = attach(directory)
    processes = processes_of(state)

    code, out, err = localcloud("up", *place)
    assert (code, out.splitlines()[0], err) == (0, f"Runs already in {directory}:", "")
    os.kill(state.main.pid, signal.SIGKILL)
    code, out, err = localcloud("status", *place)
    assert (code, out.count("answers"), out.count("does not answer"), err) == (1, 2, 1, "")

    assert localcloud("down", *place) == (0, f"Stopped; {directory} is removed.\n", "")
    assert all_ended(processes)
    assert localcloud("status", *place) == (2, f"Nothing runs in {directory}.\n", "")
    assert localcloud("down", *place) == (0, f"Nothing runs in {directory}.\n", "")


def test_run_waits_for_a_command_that_handles_ctrl_c(directory: Path) -> None:
    command = "trap 'sleep 0.2; echo handled; exit 7' INT; echo begun; while :; do sleep 0.05; done"
    words = arguments("run", "--dir", str(directory), "--", "sh", "-c", command)
    with subprocess.Popen(words, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert run.stdout.readline() == "begun\n"
        processes = processes_of(attach(directory))
        run.send_signal(signal.SIGINT)
        assert run.stdout.read() == "handled\n"
        assert run.wait(20) == 7
    assert all_ended(processes)
    assert not directory.exists()


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
def test_run_gives_the_exit_code_and_leaves_a_cloud_that_ran_before(cloud: CloudState, command: str, code: int) -> None:
    assert localcloud("run", "--dir", cloud.directory, "--", "sh", "-c", command) == (code, "", "")
    assert attach(cloud.directory) == cloud


def test_attach_needs_a_cloud(directory: Path) -> None:
    with pytest.raises(LocalCloudError, match="No local cloud runs in"):
        attach(directory)
