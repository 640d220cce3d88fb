"""A cloud runs in the foreground and leaves neither processes nor files, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from deploytools.local import CloudState
from tests.local.running import ROOT, all_ended, arguments, environment, localcloud, processes_below, wait_for
from tests.local_cloud import separate_cloud


@pytest.fixture
def up(accessible: Path) -> Iterator[subprocess.Popen[str]]:
    """A running ``localcloud up``."""
    with subprocess.Popen(
        arguments("up"), cwd=ROOT, env=environment(accessible), stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        processes = processes_below(process.pid) if process.poll() is None else []
        process.kill()
    assert all_ended(processes)  # PostgreSQL removes its files while it ends.


def output_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Quit"):
            break
    return "".join(lines)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_up_ends_with_a_signal(up: subprocess.Popen[str], accessible: Path, number: signal.Signals, code: int) -> None:
    output = output_of(up)
    assert re.search(r"^PostgreSQL [\d.]+ +127\.0\.0\.1:\d+$", output, re.MULTILINE)
    assert "AWS (moto " in output
    assert "SMTP " in output
    processes = processes_below(up.pid)
    assert len(processes) > 2
    up.send_signal(number)
    assert up.wait(20) == code
    assert all_ended(processes)
    assert list(accessible.iterdir()) == []


@pytest.mark.slow
def test_another_shell_uses_the_cloud(up: subprocess.Popen[str], accessible: Path) -> None:
    (line,) = [line for line in output_of(up).splitlines() if line.startswith("    . ")]
    file = Path(line.split()[1])
    assert (file.stat().st_mode & 0o777) == 0o600
    script = f'{line}\necho "${{AWS_PROFILE-none}} ${{AWS_SESSION_TOKEN-none}}"; {sys.executable} manage.py check_rds'
    mine = environment(accessible, AWS_PROFILE="production", AWS_SESSION_TOKEN="token")
    done = subprocess.run(["sh", "-uc", script], cwd=ROOT, env=mine, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("none none\n")
    assert "startupwebapp" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends child processes with their parent")
def test_postgresql_ends_with_a_killed_cloud(up: subprocess.Popen[str]) -> None:
    output_of(up)
    processes = processes_below(up.pid)
    up.kill()
    assert all_ended(processes)


@pytest.mark.slow
def test_ctrl_c_during_the_start(up: subprocess.Popen[str], accessible: Path) -> None:
    wait_for(lambda: list(accessible.glob("*/postgresql-0")))
    up.send_signal(signal.SIGINT)
    assert up.wait(20) == 130
    assert list(accessible.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param("exit 0", 0, marks=pytest.mark.slow),
        ("exit 3", 3),
        pytest.param("kill -TERM $$", 143, marks=pytest.mark.slow),
    ],
)
def test_run_returns_the_exit_code(accessible: Path, command: str, code: int) -> None:
    assert localcloud("run", "--", "sh", "-c", command, env=environment(accessible)) == (code, "", "")
    assert list(accessible.iterdir()) == []


@pytest.mark.slow
def test_run_leaves_ctrl_c_to_the_command(accessible: Path) -> None:
    command = "trap 'sleep 0.2; echo handled; exit 7' INT; echo started; while :; do sleep 0.05; done"
    words = arguments("run", "--", "sh", "-c", command)
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(accessible), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout
        assert run.stdout.readline() == "started\n"
        processes = processes_below(run.pid)
        os.killpg(run.pid, signal.SIGINT)  # As a terminal does.
        assert run.stdout.read() == "handled\n"
        assert run.wait(20) == 7
    assert all_ended(processes)
    assert list(accessible.iterdir()) == []


@pytest.mark.slow
def test_run_terminates_the_command(accessible: Path) -> None:
    words = arguments("run", "--", "sh", "-c", "echo started; exec sleep 100")
    with subprocess.Popen(words, cwd=ROOT, env=environment(accessible), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert run.stdout.readline() == "started\n"
        processes = processes_below(run.pid)
        run.terminate()
        assert run.wait(20) == 143
    assert all_ended(processes)
    assert list(accessible.iterdir()) == []


@pytest.mark.slow
def test_sigterm_while_the_command_is_being_started(accessible: Path) -> None:
    marker = str(1000 + os.getpid())
    command = f"kill -TERM $PPID; exec sleep {marker}"
    assert localcloud("run", "--", "sh", "-c", command, env=environment(accessible))[0] == 143
    assert all_ended([found for found in psutil.process_iter() if _arguments(found) == ["sleep", marker]])


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.slow
def test_two_clouds_are_independent(cloud: CloudState) -> None:
    with separate_cloud() as other:
        assert other.directory != cloud.directory
        for state in (cloud, other):
            with psycopg.connect(**state.as_master()) as connection:
                assert connection.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(**{**other.as_master(), "sslrootcert": cloud.ca_file})
    assert not Path(other.directory).exists()
