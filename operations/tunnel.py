"""``scripts/tunnel``: a way to the database through a bastion host, proved before anybody uses it (docs/bastion.md)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from operations.errors import OperationError
from operations.postgres_tls import answers, context

DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"
PROGRAMS = {"ssm": "aws", "ssh": "ssh"}
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Tunnel:
    """Where from and where to.

    Attributes:
        way: ``ssm`` or ``ssh``.
        bastion: an instance's id, or what ssh connects to.
        host: the RDS endpoint; also the name that the certificate must bear.
    """

    way: str
    bastion: str
    host: str
    port: int
    local_port: int

    def command(self) -> list[str]:
        """What opens it."""
        if self.way == "ssh":
            forward = f"127.0.0.1:{self.local_port}:{self.host}:{self.port}"
            options = ["-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15"]
            return ["ssh", "-N", *options, "-L", forward, self.bastion]
        parameters = {"host": [self.host], "portNumber": [str(self.port)], "localPortNumber": [str(self.local_port)]}
        start = ["aws", "ssm", "start-session", "--target", self.bastion, "--document-name", DOCUMENT]
        return [*start, "--parameters", json.dumps(parameters)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Open, prove, tell; stay until Ctrl-C, or until the command given has ended. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    place = words.index("--") if "--" in words else len(words)
    options, command = _parser().parse_args(words[:place]), words[place + 1 :]
    tunnel = Tunnel(options.way, options.bastion, options.host, options.port, options.local_port)
    try:
        with opened(tunnel, options.ca, options.wait) as process:
            variables = exports(tunnel, options.ca)
            if command:
                return subprocess.run(command, env=os.environ | variables, check=False).returncode
            print("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()), flush=True)
            _say(f"The tunnel to {tunnel.host} is open. In another terminal, paste the lines above; Ctrl-C closes it.")
            process.wait()
            raise OperationError(
                f"The tunnel has closed (exit code {process.returncode}).",
                hint="Open it again; see what is said above.",
            )
    except OperationError as error:
        _say(error.explain())
        return error.code
    except KeyboardInterrupt:
        _say("Closed.")
        return 130 if command else 0


def exports(tunnel: Tunnel, ca_file: str) -> dict[str, str]:
    """The environment in which every command goes through `tunnel`; PGHOSTADDR is for psql and for ``dbshell``."""
    return {
        "DB_HOSTADDR": "127.0.0.1",
        "DB_PORT": str(tunnel.local_port),
        "DB_SSLROOTCERT": os.path.abspath(ca_file),  # noqa: PTH100
        "PGHOSTADDR": "127.0.0.1",
    }


@contextlib.contextmanager
def opened(tunnel: Tunnel, ca_file: str, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """The program that holds the tunnel open, once PostgreSQL has answered through it; ended afterwards.

    Raises:
        OperationError: the port is taken, the program is missing or ended, or the wrong server or none answers.
    """
    trust = context(ca_file)
    _refuse_taken(tunnel.local_port)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    process = _start(tunnel)
    try:
        deadline = time.monotonic() + seconds
        while not answers(tunnel.local_port, tunnel.host, trust):
            if process.poll() is not None:
                raise OperationError(f"{PROGRAMS[tunnel.way]} ended with {process.returncode}.", hint=_hint(tunnel))
            if time.monotonic() > deadline:
                raise OperationError(
                    f"PostgreSQL has not answered through the tunnel for {seconds:g} s.",
                    hint=f"May the bastion host reach {tunnel.host}:{tunnel.port}? Its security group has to be a "
                    "source of the database's.",
                )
            time.sleep(0.2)
        yield process
    finally:
        _close(process)


def _start(tunnel: Tunnel) -> subprocess.Popen[bytes]:
    command = tunnel.command()
    if not shutil.which(command[0]):
        raise OperationError(f"{command[0]} is not installed.", hint=_hint(tunnel))
    # ssh may have to ask for a passphrase and stays with the terminal. aws starts a plugin, which has to end with it.
    alone = tunnel.way == "ssm"
    return subprocess.Popen(command, stdin=subprocess.DEVNULL if alone else None, stdout=2, start_new_session=alone)


def _hint(tunnel: Tunnel) -> str:
    if tunnel.way == "ssh":
        return f"Try it alone: ssh {tunnel.bastion}. Without port 22: scripts/tunnel ssm INSTANCE_ID"
    return (
        "It needs the AWS CLI, its session-manager-plugin, credentials with ssm:StartSession, and an agent that is "
        f"online: aws ssm describe-instance-information --filters Key=InstanceIds,Values={tunnel.bastion}"
    )


def _close(process: subprocess.Popen[bytes]) -> None:
    group = os.getpgid(process.pid) if process.poll() is None else process.pid
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group == process.pid:
                os.killpg(group, number)
            else:
                process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CLOSE_SECONDS)
            return


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise OperationError(
                f"Port {port} on this machine is taken by {_who_listens(port)}.",
                hint=f"End that, or take another: --local-port {port + 1}. No PostgreSQL of yours must get tenants.",
            ) from error


def _who_listens(port: int) -> str:
    """What the system's own programs say of it; other users' processes have no name for us."""
    lookups = (["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"], ["ss", "-ltnpH", f"sport = :{port}"])
    for lookup in lookups:
        if shutil.which(lookup[0]):
            said = subprocess.run(lookup, capture_output=True, text=True, check=False).stdout.split("\n")
            if lookup[0] == "lsof":
                found = {line[:1]: line[1:] for line in reversed(said) if line}
                said = [f"{found['c']} (process {found['p']})"] if found.keys() >= {"c", "p"} else []
            elif "users:" in said[0]:
                said = [said[0].partition("users:")[2].strip()]
            else:
                said = []
            if said:
                return said[0]
    return "another program, perhaps another user's"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "scripts/tunnel",
        description="Opens a tunnel to the database, waits until PostgreSQL answers with the right certificate, "
        "prints the variables to set, and closes it on Ctrl-C; or runs one command through it.",
        usage="scripts/tunnel ssm|ssh BASTION --host ENDPOINT [--ca FILE] [--local-port PORT] [-- COMMAND…]",
    )
    parser.add_argument("way", choices=("ssm", "ssh"), help="ssm: AWS Systems Manager, no open port; ssh: port 22")
    parser.add_argument("bastion", help="the bastion host: an instance's id (ssm), or user@host (ssh)")
    parser.add_argument("--host", required=True, help="the RDS endpoint, as in the secret's host")
    parser.add_argument("--port", type=int, default=5432, help="the database's port (default: 5432)")
    parser.add_argument("--local-port", type=int, default=15432, metavar="PORT", help="near end (default: 15432)")
    bundle = os.environ.get("DB_SSLROOTCERT", "")
    parser.add_argument("--ca", default=bundle, metavar="FILE", help="AWS's CA bundle (default: DB_SSLROOTCERT)")
    parser.add_argument("--wait", type=float, default=60, metavar="SECONDS", help="how long to wait (default: 60)")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
