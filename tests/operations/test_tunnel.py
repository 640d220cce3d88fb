"""scripts/tunnel, with stand-ins for aws and ssh that really forward a port to a real PostgreSQL."""

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

from tests.test_gunicorn import free_port

ROOT = Path(__file__).parent.parent.parent
STAND_IN = Path(__file__).with_name("stand_in.py")


class Ground:
    """A PATH with the stand-ins on it, a database to reach, a port to reach it by."""

    def __init__(self, place: Path, postgres) -> None:
        self.address = postgres.address
        self.log = place / "log"
        self.port = free_port()
        (place / "bin").mkdir()
        for name in ("aws", "ssh"):
            program = place / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
            program.chmod(0o755)
        self.environment = {
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "STAND_IN_TARGET": str(self.address.port),
            "STAND_IN_LOG": str(self.log),
        }

    def start(self, *arguments: str, host: str = "", port: int = 0, **environment: str) -> subprocess.Popen[str]:
        way, *rest = arguments
        options = ["--host", host or self.address.host, "--ca", self.address.sslrootcert]
        command = ["scripts/tunnel", way, *rest[:1], *options, "--local-port", str(port or self.port), *rest[1:]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=self.environment | environment, **pipes)  # type: ignore[call-overload,no-any-return]

    def finish(self, *arguments: str, **options) -> tuple[str, list[str], int]:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return out, err.splitlines(), process.returncode

    def left_over(self) -> list[psutil.Process]:
        return [p for p in psutil.process_iter(["cmdline"]) if str(self.port) in " ".join(p.info["cmdline"] or [])]


@pytest.fixture
def ground(tmp_path, one_postgres) -> Ground:
    return Ground(tmp_path, one_postgres)


SSM = ("ssm", "i-0123456789abcdef0")
SSH = ("ssh", "ec2-user@bastion")


@pytest.mark.parametrize("way", [SSM, SSH], ids=["ssm", "ssh"])
def test_it_opens_proves_prints_and_closes(ground, one_postgres, way):
    process = ground.start(*way)
    assert process.stdout is not None
    lines = [process.stdout.readline().rstrip() for _ in range(4)]
    assert lines == [
        "export DB_HOSTADDR=127.0.0.1", f"export DB_PORT={ground.port}",
        f"export DB_SSLROOTCERT={ground.address.sslrootcert}", "export PGHOSTADDR=127.0.0.1",
    ]  # fmt: skip
    master = one_postgres.master
    with psycopg.connect(
        host=ground.address.host, hostaddr="127.0.0.1", port=ground.port, user=master.user,
        password=master.password.reveal(), dbname="postgres", sslmode="verify-full",
        sslrootcert=ground.address.sslrootcert,
    ) as session:  # fmt: skip
        assert session.execute("SELECT 1").fetchone() == (1,)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err.splitlines()[-1], process.returncode) == ("", "Closed.", 0)
    assert ground.left_over() == []


def test_what_ssm_and_ssh_are_asked_for(ground):
    assert ground.finish(*SSM, "--", "true")[2] == 0
    assert json.loads(ground.log.read_text())[1:] == [
        "ssm", "start-session", "--target", "i-0123456789abcdef0",
        "--document-name", "AWS-StartPortForwardingSessionToRemoteHost", "--parameters",
        json.dumps({"host": [ground.address.host], "portNumber": ["5432"], "localPortNumber": [str(ground.port)]}),
    ]  # fmt: skip
    assert ground.finish(*SSH, "--", "true")[2] == 0
    assert json.loads(ground.log.read_text())[1:] == [
        "-N", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15",
        "-L", f"127.0.0.1:{ground.port}:{ground.address.host}:5432", "ec2-user@bastion",
    ]  # fmt: skip


def test_a_command_runs_through_it_and_gives_its_exit_code(ground):
    out, _, code = ground.finish(*SSM, "--", "sh", "-c", "echo $DB_HOSTADDR $DB_PORT; exit 7")
    assert (out, code) == (f"127.0.0.1 {ground.port}\n", 7)
    assert ground.left_over() == []


def test_sigterm_closes_it(ground):
    process = ground.start(*SSM)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (process.returncode, ground.left_over()) == (143, [])


def test_a_tunnel_that_breaks_down_says_so(ground):
    process = ground.start(*SSM)
    assert process.stdout is not None
    process.stdout.readline()
    (stand_in,) = [p for p in ground.left_over() if STAND_IN.name in " ".join(p.cmdline())]
    stand_in.kill()
    _, err = process.communicate(timeout=30)
    assert (err.splitlines()[-2], process.returncode) == ("error: The tunnel has closed (exit code -9).", 2)


def test_another_servers_certificate_is_refused(ground):
    out, err, code = ground.finish(*SSM, host="other.cqbgoe8omhyh.us-east-1.rds.amazonaws.com")
    assert (out, code) == ("", 2)
    assert err[-2].startswith(
        f"error: The server on port {ground.port} does not prove to be other.cqbgoe8omhyh.us-east-1.rds.amazonaws.com: "
    )
    assert ground.left_over() == []


def test_a_server_without_tls_is_refused(ground):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(30)
        process = ground.start(*SSM, STAND_IN_TARGET=str(plain.getsockname()[1]))
        connection, _ = plain.accept()
        connection.sendall(b"N")
        _, err = process.communicate(timeout=30)
        connection.close()
    assert (err.splitlines()[-2], process.returncode) == (
        f"error: What answers on port {ground.port} is no PostgreSQL with TLS.", 2,
    )  # fmt: skip


def test_a_taken_port_names_who_has_it(ground):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        out, err, code = ground.finish(*SSM, port=port)
    assert (out, code) == ("", 2)
    assert err[0].startswith(f"error: Port {port} on this machine is taken by ")
    assert str(os.getpid()) in err[0]
    assert err[1].startswith(f"hint: End that, or take another: --local-port {port + 1}.")
    assert not ground.log.exists()


def test_a_session_that_does_not_open_says_why(ground):
    out, err, code = ground.finish(*SSM, STAND_IN_MODE="fail")
    assert (out, code) == ("", 2)
    assert "TargetNotConnected" in err[0]
    assert err[1] == "error: aws ended with 1."
    assert err[2].startswith("hint: It needs the AWS CLI, its session-manager-plugin")


def test_a_tunnel_that_never_answers(ground):
    _, err, code = ground.finish(*SSH, "--wait", "0.5", STAND_IN_MODE="silent")
    assert (err[0], code) == ("error: PostgreSQL has not answered through the tunnel for 0.5 s.", 2)
    assert ground.left_over() == []


def test_no_bundle_no_tunnel(ground):
    _, err, code = ground.finish(*SSM, "--ca", "/nowhere.pem")
    assert (err[0], code) == ("error: The CA bundle '/nowhere.pem' cannot be used: No such file or directory.", 2)
    assert not ground.log.exists()


def test_no_program_no_tunnel(ground, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "operations.tunnel", *SSM, "--host", "h", "--ca", ground.address.sslrootcert,
         "--local-port", str(ground.port)],
        cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.stderr.splitlines()[0], process.returncode) == ("error: aws is not installed.", 2)
