"""The command line of ``python -m deploytools.ecs``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploytools.ecs.cluster import INTERRUPTS, Cluster, exit_code_of
from deploytools.errors import DeployError, format_error
from deploytools.signals import exit_on_signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the action of the command line. Return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    separator = words.index("--") if "--" in words else len(words)
    options, command = _parser().parse_args(words[:separator]), words[separator + 1 :]
    cluster = Cluster(options.cluster, log=lambda text: print(text, flush=True))
    try:
        with exit_on_signals() as received:
            try:
                return _run(cluster, options, command)
            finally:
                received.clear()  # The action has handled them: the exit code is that of its result or of its error.
    except DeployError as error:
        print(f"Error: {format_error(error)}", file=sys.stderr)
        return error.exit_code
    except INTERRUPTS as interrupt:
        print("Interrupted.", file=sys.stderr)
        return exit_code_of(interrupt)


def _run(cluster: Cluster, options: argparse.Namespace, command: Sequence[str]) -> int:
    if options.action == "register":
        print(cluster.register(options.file, image=options.image, account=options.account))
        return 0
    if options.action == "run":
        return cluster.run(
            options.definition, command, service=options.service, stop_on_interrupt=options.stop_on_interrupt
        )
    definition = options.definition if options.action == "deploy" else options.to or cluster.previous(options.service)
    return cluster.deploy(options.service, definition, command, seconds=options.wait)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m deploytools.ecs",
        description="Run one-off tasks and update services on Amazon ECS. Needs the AWS CLI.",
        epilog="Exit codes: 0 success; 1 the service was rolled back, or another deployment replaced this one; "
        "2 error. The action run exits with the exit code of the container, or with 130 (SIGINT) or 143 (SIGTERM).",
    )
    parser.add_argument("--cluster", required=True, help="name or ARN of the ECS cluster (required)")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", prog=f"{parser.prog} --cluster CLUSTER"
    )
    _add_register(actions.add_parser("register", help="register a new revision of a task definition, print its ARN"))
    _add_run(actions.add_parser("run", help="run a one-off task, follow its log, exit with its exit code"))
    _add_deploy(actions.add_parser("deploy", help="update a service, roll back on failure"))
    _add_rollback(actions.add_parser("rollback", help="return a service to an earlier revision"))
    return parser


def _add_register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Register a new revision of a task definition and print its ARN."
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON file with the placeholders IMAGE and ACCOUNT")
    parser.add_argument("--image", required=True, help="container image (required)")
    parser.add_argument("--account", required=True, metavar="ID", help="AWS account ID (required)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a one-off task, follow its log and exit with the exit code of its container."
    parser.usage = "%(prog)s --service SERVICE --definition FAMILY[:REVISION] [--stop-on-interrupt] -- COMMAND …"
    parser.add_argument(
        "--service", required=True, help="run in the subnets and security groups of this service (required)"
    )
    parser.add_argument(
        "--definition",
        required=True,
        metavar="FAMILY[:REVISION]",
        help="task definition, name or ARN (required). Without a revision: the newest with the image of the service",
    )
    parser.add_argument(
        "--stop-on-interrupt",
        action="store_true",
        help="stop the task on Ctrl-C or SIGTERM (default: it continues, and the command that shows it is printed)",
    )


def _add_deploy(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Update a service and wait until it is stable, then run COMMAND to verify it. "
        "Roll back if the service does not become stable, COMMAND fails or a signal arrives."
    )
    parser.usage = "%(prog)s --service SERVICE --definition FAMILY:REVISION [--wait SECONDS] [-- COMMAND …]"
    parser.add_argument(
        "--definition", required=True, metavar="FAMILY:REVISION", help="task definition, name or ARN (required)"
    )
    _add_service(parser)


def _add_rollback(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Return a service to an earlier revision and wait until it is stable, then run COMMAND to verify it."
    )
    parser.usage = "%(prog)s --service SERVICE [--to FAMILY:REVISION] [--wait SECONDS] [-- COMMAND …]"
    parser.add_argument("--to", default="", metavar="FAMILY:REVISION", help="revision (default: the last verified one)")
    _add_service(parser)


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", required=True, help="service to update (required)")
    parser.add_argument(
        "--wait", type=float, default=900, metavar="SECONDS", help="seconds to wait until it is stable (default: 900)"
    )


if __name__ == "__main__":
    sys.exit(main())
