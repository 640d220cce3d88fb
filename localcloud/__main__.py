"""``scripts/localcloud``: options, messages and exit codes. What they do is in the other modules."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from localcloud.cloud import LocalCloud, attach, stop
from localcloud.directory import default_directory, is_alive
from localcloud.environment import as_shell, merged
from localcloud.errors import LocalCloudError
from localcloud.run import run_command
from localcloud.state import CloudState
from localcloud.status import parts

PROGRAM = "scripts/localcloud"
DESCRIPTION = "PostgreSQL with TLS, an AWS emulator and an SMTP server on this machine."
USAGE = "scripts/localcloud [--dir DIR] up | down | status | env | run [--keep] -- COMMAND..."
EPILOG = (
    "The directory is DEPLOYTOOLS_LOCALCLOUD, or one of your user's and this checkout's, unless --dir names another."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says. Returns the exit code; errors are two lines, and 2."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    commands = {"up": up, "down": down, "status": status, "env": env, "run": run}
    try:
        return commands[options.command](options)
    except LocalCloudError as exc:
        print(f"error: {exc.message}\nhint: {exc.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. What stands after ``--`` is the command of `run`, and is not looked at."""
    ours, command = _split(list(arguments))
    parser = _parser()
    options = parser.parse_args(ours)
    options.directory = Path(getattr(options, "dir", None) or default_directory()).absolute()
    if options.command == "run":
        options.words += command
        if not options.words:
            parser.error("which command? scripts/localcloud run -- COMMAND...")
    elif command:
        parser.error(f"only run takes a command: {' '.join(command)}")
    return options


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir", type=Path, default=argparse.SUPPRESS, help="the directory that holds all there is of it"
    )
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument("--pg-port", type=int, default=0, metavar="PORT", help="PostgreSQL's port; a free one by default")
    parser = argparse.ArgumentParser(PROGRAM, usage=USAGE, description=DESCRIPTION, epilog=EPILOG, parents=[common])
    commands = parser.add_subparsers(dest="command", required=True, prog=PROGRAM)
    commands.add_parser("up", parents=[common, port], help="start a cloud that runs until down")
    commands.add_parser("down", parents=[common], help="stop it and remove its directory")
    commands.add_parser("status", parents=[common], help="exit 0: all parts answer, 1: one does not, 2: nothing runs")
    commands.add_parser("env", parents=[common], help='for a shell: eval "$(scripts/localcloud env)"')
    run_parser = commands.add_parser("run", parents=[common, port], help="run a command in a cloud, stop that after it")
    run_parser.add_argument("--keep", action="store_true", help="leave the cloud running")
    run_parser.add_argument("words", nargs="*", metavar="COMMAND", help="after -- if it has options")
    return parser


def up(options: argparse.Namespace) -> int:
    """Start a cloud that runs until `down`; or say that one does."""
    started = time.monotonic()
    cloud = LocalCloud(options.directory, pg_port=options.pg_port, detached=True)
    with cloud as state:
        if cloud.has_started_it:
            print(f"Started in {time.monotonic() - started:.1f} s in {state.directory}:")
        else:
            print(f"Runs already in {state.directory}:")
        _show(state)
    where = "" if options.directory == default_directory() else f" --dir {options.directory}"
    print(f'Use it:  eval "$(scripts/localcloud env{where})"\nStop it: scripts/localcloud down{where}')
    return 0


def down(options: argparse.Namespace) -> int:
    """Stop what runs, and clear away what a killed one left."""
    was_running = stop(options.directory)
    print(f"Stopped; {options.directory} is removed." if was_running else f"Nothing runs in {options.directory}.")
    return 0


def status(options: argparse.Namespace) -> int:
    """Ask each part whether it answers."""
    if not is_alive(options.directory):
        print(f"Nothing runs in {options.directory}.")
        return 2
    return 1 if _show(attach(options.directory)) else 0


def env(options: argparse.Namespace) -> int:
    """Lines for a shell's ``eval``."""
    print(as_shell(attach(options.directory), os.environ))
    return 0


def run(options: argparse.Namespace) -> int:
    """Run a command in a cloud: the one that runs, or one of its own."""
    with LocalCloud(options.directory, pg_port=options.pg_port, detached=options.keep) as state:
        return run_command(options.words, merged(state, os.environ))


def _show(state: CloudState) -> bool:
    """Print a line for each part. Returns whether one does not answer."""
    found = parts(state)
    for part in found:
        print(f"  {part}")
    return any(part.problem for part in found)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
