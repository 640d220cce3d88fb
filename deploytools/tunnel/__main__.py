"""The command line of ``python -m deploytools.tunnel``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from deploytools.errors import DeployError, format_error
from deploytools.signals import exit_on_signals, handled
from deploytools.tunnel.port_forwarding import PortForwarding, environment, forwarding

POLL_SECONDS = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Open a tunnel, then run a command through it or wait for Ctrl-C. Return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    separator = words.index("--") if "--" in words else len(words)
    options, command = _parser().parse_args(words[:separator]), words[separator + 1 :]
    tunnel = PortForwarding(options.method, options.bastion, options.host, options.port, options.local_port)
    variables = environment(tunnel, options.ca)
    try:
        with exit_on_signals(), forwarding(tunnel, options.ca, options.wait) as process:
            if command:
                return _run(command, os.environ | variables, process)
            print("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()), flush=True)
            _log(f"The tunnel to {tunnel.host} is open. Paste the lines above into another terminal.")
            _log("Press Ctrl-C to close the tunnel.")
            process.wait()
            raise _closed(process)
    except DeployError as error:
        _log(f"Error: {format_error(error)}")
        return error.exit_code
    except KeyboardInterrupt:
        _log("Tunnel closed.")
        return 130 if command else 0


def _run(command: Sequence[str], variables: Mapping[str, str], tunnel: subprocess.Popen[bytes]) -> int:
    """Run the command and return its exit code. Report if the tunnel closes before.

    The command handles signals: SIGTERM and SIGHUP are passed on, a terminal sends it Ctrl-C.
    """
    received: list[int] = []
    with handled(received.append, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        try:
            started = subprocess.Popen(command, env=variables)
        except OSError as error:
            raise DeployError(f"{command[0]} could not be run: {error.strerror}.", hint="Check the command.") from error
        is_open = True
        with started as process:
            while process.poll() is None:
                if is_open and tunnel.poll() is not None:
                    is_open = False
                    _log(f"Error: {format_error(_closed(tunnel))}")
                while received:
                    number = received.pop(0)
                    if number != signal.SIGINT:
                        process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _closed(tunnel: subprocess.Popen[bytes]) -> DeployError:
    return DeployError(
        f"The tunnel was closed unexpectedly (exit code {tunnel.returncode}).",
        hint="Check the messages above, then open the tunnel again.",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m deploytools.tunnel",
        description="Open a tunnel to an RDS instance through a bastion host. The tunnel is ready when PostgreSQL "
        "answers through it with a valid certificate. With COMMAND, run the command through the tunnel and exit with "
        "its exit code. Without, print the environment variables to set and keep the tunnel open until Ctrl-C.",
        usage="%(prog)s [-h] {ssm,ssh} BASTION --host ENDPOINT [--port PORT]\n"
        "                                   [--local-port PORT] [--ca FILE] [--wait SECONDS] [-- COMMAND …]",
    )
    parser.add_argument(
        "method", choices=("ssm", "ssh"), help="ssm: AWS Systems Manager, needs no open port; ssh: needs port 22"
    )
    parser.add_argument("bastion", metavar="BASTION", help="bastion host: instance ID (ssm) or user@host (ssh)")
    parser.add_argument(
        "--host", required=True, metavar="ENDPOINT", help='RDS endpoint, the key "host" of the secret (required)'
    )
    parser.add_argument("--port", type=int, default=5432, help="port of the database (default: 5432)")
    parser.add_argument(
        "--local-port", type=int, default=15432, metavar="PORT", help="local end of the tunnel (default: 15432)"
    )
    parser.add_argument(
        "--ca",
        default=os.environ.get("PGSSLROOTCERT", ""),
        metavar="FILE",
        help="CA bundle of AWS, global-bundle.pem (default: the environment variable PGSSLROOTCERT)",
    )
    parser.add_argument(
        "--wait", type=float, default=60, metavar="SECONDS", help="seconds to wait for PostgreSQL (default: 60)"
    )
    return parser


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
