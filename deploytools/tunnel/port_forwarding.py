"""Forward a local port to the database with ``aws ssm start-session`` or ``ssh -L``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from deploytools.errors import DeployError
from deploytools.tunnel.local_port import require_free
from deploytools.tunnel.postgres_tls import answers, create_context

DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class PortForwarding:
    """A forwarded port.

    Attributes:
        method: ``ssm`` or ``ssh``.
        bastion: an instance ID (ssm) or the destination of ssh.
        host: the RDS endpoint, which the server's certificate must name.
        port: the port of the database.
        local_port: the local end of the tunnel.
    """

    method: str
    bastion: str
    host: str
    port: int
    local_port: int

    def command(self) -> list[str]:
        """Return the command that forwards the port."""
        if self.method == "ssh":
            forward = f"127.0.0.1:{self.local_port}:{self.host}:{self.port}"
            options = ["-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15"]
            return ["ssh", "-N", *options, "-L", forward, self.bastion]
        parameters = {"host": [self.host], "portNumber": [str(self.port)], "localPortNumber": [str(self.local_port)]}
        start = ["aws", "ssm", "start-session", "--target", self.bastion, "--document-name", DOCUMENT]
        return [*start, "--parameters", json.dumps(parameters)]

    def hint(self) -> str:
        """Return what to check if the command fails."""
        if self.method == "ssh":
            return f"Run: ssh {self.bastion}. If port 22 is closed, use ssm instead of ssh."
        return (
            "Check that the AWS CLI and its session-manager-plugin are installed and that the credentials allow "
            "ssm:StartSession. Check that the agent is online: aws ssm describe-instance-information --filters "
            f"Key=InstanceIds,Values={self.bastion}"
        )


def environment(tunnel: PortForwarding, ca_file: str) -> dict[str, str]:
    """Return the environment variables of libpq that make these commands, psql and ``dbshell`` use the tunnel."""
    return {
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(tunnel.local_port),
        "PGSSLROOTCERT": os.path.abspath(ca_file),  # noqa: PTH100
    }


@contextlib.contextmanager
def forwarding(tunnel: PortForwarding, ca_file: str, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """Forward the port while the context is active; yield the process once PostgreSQL answers through it.

    Args:
        tunnel: the ports to forward.
        ca_file: CA bundle that the server's certificate must be signed by.
        seconds: how long to wait for PostgreSQL.
    """
    context = create_context(ca_file)
    require_free(tunnel.local_port)
    process = _start(tunnel)
    try:
        deadline = time.monotonic() + seconds
        while not answers(tunnel.local_port, tunnel.host, context):
            if process.poll() is not None:
                name = tunnel.command()[0]
                raise DeployError(f"{name} failed with exit code {process.returncode}.", hint=tunnel.hint())
            if time.monotonic() > deadline:
                raise DeployError(
                    f"PostgreSQL did not answer through the tunnel within {seconds:g} s.",
                    hint=f"Check that the security group of the database allows port {tunnel.port} from the security "
                    f"group of the bastion host, and that {tunnel.host} is the endpoint.",
                )
            time.sleep(0.2)
        yield process
    finally:
        _close(process)


def _start(tunnel: PortForwarding) -> subprocess.Popen[bytes]:
    command = tunnel.command()
    if not shutil.which(command[0]):
        raise DeployError(f"{command[0]} is not installed.", hint=tunnel.hint())
    # ssh stays in the foreground because it can ask for a passphrase. aws gets a process group of its own, because the
    # plugin that it starts must end with it. Neither ends on Ctrl-C: a command that runs through the tunnel handles it.
    is_group = tunnel.method == "ssm"
    stdin = subprocess.DEVNULL if is_group else None
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process inherits it.
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=sys.stderr.fileno(), start_new_session=is_group)
    finally:
        signal.signal(signal.SIGINT, interrupt)


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
