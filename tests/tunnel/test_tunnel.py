"""``python -m deploytools.tunnel`` with fakes of aws and ssh that forward the port to a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.sockets import free_port

ROOT = Path(__file__).parent.parent.parent
FAKE = Path(__file__).with_name("fake_forwarder.py")


class Setup:
    """Fakes of aws and ssh on PATH, a database and a free local port."""

    def __init__(self, place: Path, postgres) -> None:
        self.address = postgres.address
        self.log = place / "log"
        self.port = free_port()
        (place / "bin").mkdir()
        for name in ("aws", "ssh"):
            program = place / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
            program.chmod(0o755)
        self.environment = {
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "FAKE_TARGET": str(self.address.port),
            "FAKE_LOG": str(self.log),
        }

    def start(self, *arguments: str, host: str = "", port: int = 0, **environment: str) -> subprocess.Popen[str]:
        method, *rest = arguments
        options = ["--host", host or self.address.host, "--ca", self.address.sslrootcert]
        command = ["scripts/tunnel", method, *rest[:1], *options, "--local-port", str(port or self.port), *rest[1:]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command, cwd=ROOT, env=self.environment | environment, start_new_session=True, **pipes
        )

    def finish(self, *arguments: str, **options) -> tuple[str, list[str], int]:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return out, err.splitlines(), process.returncode

    def leftover_processes(self) -> list[psutil.Process]:
        return [p for p in psutil.process_iter(["cmdline"]) if str(self.port) in " ".join(p.info["cmdline"] or [])]


@pytest.fixture
def setup(tmp_path, one_postgres) -> Setup:
    return Setup(tmp_path, one_postgres)


SSM = ("ssm", "i-0123456789abcdef0")
SSH = ("ssh", "ec2-user@bastion")


@pytest.mark.slow
@pytest.mark.parametrize("method", [SSM, SSH], ids=["ssm", "ssh"])
def test_the_tunnel_opens_prints_variables_and_closes(setup, one_postgres, method):
    process = setup.start(*method)
    assert process.stdout is not None
    lines = [process.stdout.readline().rstrip() for _ in range(3)]
    assert lines == [
        "export PGHOSTADDR=127.0.0.1",
        f"export PGPORT={setup.port}",
        f"export PGSSLROOTCERT={setup.address.sslrootcert}",
    ]
    master = one_postgres.master
    with psycopg.connect(
        host=setup.address.host, hostaddr="127.0.0.1", port=setup.port, user=master.user,
        password=master.password.reveal(), dbname="postgres", sslmode="verify-full",
        sslrootcert=setup.address.sslrootcert,
    ) as session:  # fmt: skip
        assert session.execute("SELECT 1").fetchone() == (1,)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err.splitlines()[-1], process.returncode) == ("", "Tunnel closed.", 0)
    assert setup.leftover_processes() == []


@pytest.mark.slow
def test_arguments_of_ssm_and_ssh(setup):
    assert setup.finish(*SSM, "--", "true")[2] == 0
    assert json.loads(setup.log.read_text())[1:] == [
        "ssm", "start-session", "--target", "i-0123456789abcdef0",
        "--document-name", "AWS-StartPortForwardingSessionToRemoteHost", "--parameters",
        json.dumps({"host": [setup.address.host], "portNumber": ["5432"], "localPortNumber": [str(setup.port)]}),
    ]  # fmt: skip
    assert setup.finish(*SSH, "--", "true")[2] == 0
    assert json.loads(setup.log.read_text())[1:] == [
        "-N", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15",
        "-L", f"127.0.0.1:{setup.port}:{setup.address.host}:5432", "ec2-user@bastion",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_command_runs_through_the_tunnel_and_its_exit_code_is_returned(setup):
    out, _, code = setup.finish(*SSM, "--", "sh", "-c", "echo $PGHOSTADDR $PGPORT; exit 7")
    assert (out, code) == (f"127.0.0.1 {setup.port}\n", 7)
    assert setup.leftover_processes() == []


@pytest.mark.slow
@pytest.mark.parametrize("method", [SSM, SSH], ids=["ssm", "ssh"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_and_the_end_of_the_terminal_close_the_tunnel(setup, method, number, code):
    process = setup.start(*method)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert (process.returncode, setup.leftover_processes()) == (code, [])


@pytest.mark.slow
def test_nohup_keeps_the_tunnel_open(setup):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # The process inherits it.
    try:
        process = setup.start(*SSM)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.slow
def test_a_tunnel_that_closes_during_a_command_is_reported(setup):
    process = setup.start(*SSM, "--", "sh", "-c", "echo started; exec sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    (fake,) = [p for p in setup.leftover_processes() if FAKE.name in " ".join(p.cmdline())]
    fake.kill()
    assert process.stderr is not None
    assert process.stderr.readline() == "Error: The tunnel was closed unexpectedly (exit code -9).\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


#: A command that handles a signal: it completes what it does.
HANDLING = "trap 'sleep 2; echo completed; exit 5' INT TERM; echo started; while :; do sleep 0.1; done"


@pytest.mark.slow
@pytest.mark.parametrize("method", [SSM, SSH], ids=["ssm", "ssh"])
def test_ctrl_c_is_handled_by_the_command_while_the_tunnel_stays_open(setup, method):
    process = setup.start(*method, "--", "sh", "-c", HANDLING)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does.
    out, err = process.communicate(timeout=60)
    assert (out, "closed unexpectedly" in err, process.returncode) == ("completed\n", False, 5)
    assert setup.leftover_processes() == []


@pytest.mark.slow
def test_sigterm_is_passed_on_to_the_command(setup):
    process = setup.start(*SSM, "--", "sh", "-c", HANDLING)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode, setup.leftover_processes()) == ("completed\n", 5, [])


@pytest.mark.slow
def test_a_command_that_does_not_exist_is_reported(setup):
    _, err, code = setup.finish(*SSM, "--", "no-such-command")
    assert (err[-2], code) == ("Error: no-such-command could not be run: No such file or directory.", 2)
    assert setup.leftover_processes() == []


@pytest.mark.slow
def test_a_tunnel_that_closes_unexpectedly_is_reported(setup):
    process = setup.start(*SSM)
    assert process.stdout is not None
    process.stdout.readline()
    (fake,) = [p for p in setup.leftover_processes() if FAKE.name in " ".join(p.cmdline())]
    fake.kill()
    _, err = process.communicate(timeout=30)
    assert (err.splitlines()[-2], process.returncode) == (
        "Error: The tunnel was closed unexpectedly (exit code -9).",
        2,
    )


@pytest.mark.slow
def test_a_certificate_of_another_host_is_refused(setup):
    other = "other.cqbgoe8omhyh.us-east-1.rds.amazonaws.com"
    out, err, code = setup.finish(*SSM, host=other)
    assert (out, code) == ("", 2)
    assert err[-2].startswith(
        f"Error: The certificate of the server on local port {setup.port} is not valid for {other}: "
    )
    assert setup.leftover_processes() == []


def test_a_server_without_tls_is_refused(setup):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(30)
        process = setup.start(*SSM, FAKE_TARGET=str(plain.getsockname()[1]))
        connection, _ = plain.accept()
        connection.sendall(b"N")
        _, err = process.communicate(timeout=30)
        connection.close()
    assert (err.splitlines()[-2], process.returncode) == (
        f"Error: The server on local port {setup.port} is not PostgreSQL with TLS.", 2,
    )  # fmt: skip


def test_a_port_in_use_is_refused_and_the_process_named(setup):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        out, err, code = setup.finish(*SSM, port=port)
    assert (out, code) == ("", 2)
    assert err[0].startswith(f"Error: Local port {port} is already in use by ")
    assert str(os.getpid()) in err[0]
    assert err[1] == f"Hint: Stop that process or choose another port: --local-port {port + 1}"
    assert not setup.log.exists()


def test_a_session_that_fails_to_open_is_reported(setup):
    out, err, code = setup.finish(*SSM, FAKE_MODE="fail")
    assert (out, code) == ("", 2)
    assert "TargetNotConnected" in err[0]
    assert err[1] == "Error: aws failed with exit code 1."
    assert err[2].startswith("Hint: Check that the AWS CLI and its session-manager-plugin")


@pytest.mark.slow
def test_a_tunnel_that_never_answers_times_out(setup):
    _, err, code = setup.finish(*SSH, "--wait", "0.5", FAKE_MODE="silent")
    assert (err[0], code) == ("Error: PostgreSQL did not answer through the tunnel within 0.5 s.", 2)
    assert setup.leftover_processes() == []


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        ("/nowhere.pem", "Error: Cannot load the CA bundle /nowhere.pem: No such file or directory."),
        ("", "Error: No CA bundle: neither --ca nor PGSSLROOTCERT is set."),
    ],
    ids=["missing file", "not set"],
)
def test_a_missing_ca_bundle_is_refused(setup, bundle, message):
    _, err, code = setup.finish(*SSM, "--ca", bundle)
    assert (err[0], code) == (message, 2)
    assert not setup.log.exists()


def test_a_missing_program_is_reported(setup, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "deploytools.tunnel", *SSM, "--host", "h", "--ca", setup.address.sslrootcert,
         "--local-port", str(setup.port)],
        cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.stderr.splitlines()[0], process.returncode) == ("Error: aws is not installed.", 2)
