"""The options of `rotate_credentials`, and the rules which of them can be combined."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from deploytools.errors import ConfigurationError
from deploytools.management.base import FINISH_HELP, IAM_POLICY_HELP, LEAKED_HELP
from deploytools.management.modes import Modes, refuse_idle_options
from deploytools.rotation.rotation_state import MASTER, PASSWORD
from deploytools.secrets.contract import DJANGO_KEY
from deploytools.secrets.versions import parse_age

CREDENTIALS = (PASSWORD.name, DJANGO_KEY, MASTER)

_REPORT = ("format", "output")
_READ = ("master_secret", "master_username", *_REPORT)
_CHANGE = ("plan", "wait_for_lock", *_READ)
_HINT = "Remove one of the two options."
_OTHER_CREDENTIAL = "Remove the option: it applies to another credential."

#: Credentials, and modes other than a rotation: the options that each accepts, and a hint.
MODES: Modes = {
    PASSWORD.name: (
        ("finish", "abort", "back", "status", "iam_policy", "one_login", "end_sessions", "now", "wait_for_sessions",
         "grace", "tenant", *_CHANGE), _OTHER_CREDENTIAL,
    ),
    DJANGO_KEY: (("leaked", "restarted", "iam_policy", *_CHANGE), _OTHER_CREDENTIAL),
    MASTER: (("abort", "status", "iam_policy", *_CHANGE), _OTHER_CREDENTIAL),
    "finish": (("end_sessions", "now", "tenant", *_CHANGE), _HINT),
    "abort": (("one_login", "tenant", *_CHANGE), _HINT),
    "back": (("tenant", *_CHANGE), _HINT),
    "status": (("one_login", "tenant", *_READ), f"--status changes nothing. {_HINT}"),
    "iam_policy": (("master_secret", *_REPORT), f"--iam-policy only prints a policy. {_HINT}"),
    "plan": (
        ("finish", "abort", "back", "one_login", "end_sessions", "now", "wait_for_sessions", "grace", "leaked",
         "restarted", "tenant", *_READ), f"--plan changes nothing. {_HINT}",
    ),
    "one_login": (("abort", "status", "tenant", *_CHANGE), f"There is no former login to close. {_HINT}"),
}  # fmt: skip


def mode_of(credential: str, options: Mapping[str, Any]) -> str:
    """Return ``finish``, ``abort``, ``back``, ``status`` or ``iam_policy``; empty: a rotation."""
    refuse_idle_options(MODES, options, credential)
    if options["now"] and not options["finish"]:
        raise ConfigurationError("--now requires --finish.", hint="Remove --now.")
    if options["end_sessions"] and not (options["finish"] or options["wait_for_sessions"]):
        raise ConfigurationError(
            "--end-sessions requires --finish or --wait-for-sessions.", hint="Add --wait-for-sessions 30m."
        )
    return next((mode for mode in ("finish", "abort", "back", "status", "iam_policy") if options[mode]), "")


def duration(text: str) -> int:
    """Parse a duration, for example ``30m`` or ``24h``, to seconds."""
    age = parse_age(text)
    if not age:
        raise ArgumentTypeError(f"{text!r} is not a duration, for example 30m, 24h or 7d")
    return int(age.total_seconds())


def add_rotation_options(parser: CommandParser) -> None:
    """Add the credential, the modes and the options that no other command has."""
    parser.add_argument("credential", choices=CREDENTIALS, help="What to rotate.")
    for option, text in (
        ("--finish", FINISH_HELP),
        ("--abort", "Cancel a rotation before its switch."),
        ("--back", "Make the former login current again, while it is open."),
        ("--status", "Show where the rotation stands and who uses each login; change nothing."),
        ("--iam-policy", IAM_POLICY_HELP),
        (
            "--one-login",
            "Change the password of the login in use. New connections fail until processes read the secret again.",
        ),
        (
            "--end-sessions",
            "With --finish or --wait-for-sessions: end sessions of the former login that have been idle for 10 s.",
        ),
        ("--leaked", LEAKED_HELP),
        ("--restarted", "Do not check that all processes were restarted since the last phase of django_secret_key."),
        ("--now", "With --finish: close the former login and end all its sessions, for example after a leak."),
    ):
        parser.add_argument(option, action="store_true", help=text)
    for option, text in (
        (
            "--wait-for-sessions",
            "After the switch, wait up to TIME, for example 30m, until no session uses the former login, and close it.",
        ),
        ("--grace", "Let PostgreSQL refuse the former login after TIME, for example 24h."),
    ):
        parser.add_argument(option, type=duration, metavar="TIME", help=text)
