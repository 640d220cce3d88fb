"""The options of `sync_secrets`, and the rules which of them can be combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

from deploytools.errors import ConfigurationError
from deploytools.management.base import IAM_POLICY_HELP, LEAKED_HELP
from deploytools.management.modes import Modes, flag, is_given, refuse_idle_options
from deploytools.secrets.contract import DJANGO_KEY

#: Options that give values.
VALUES = ("file", "set", "ask", "from_env", "unset", "generate", "regenerate", "email", "stripe")

_REPORT = ("format", "output")
_CHANGE = ("plan", "check", *_REPORT)
_HINT = "Remove one of them."

#: Modes other than a write: the options that each accepts, and a hint.
MODES: Modes = {
    "show": (_REPORT, _HINT),
    "history": (_REPORT, _HINT),
    "template": ((), _HINT),
    "validate": ((*VALUES, *_REPORT), _HINT),
    "rollback": (("key", "with_login", "restart", *_CHANGE), _HINT),
    "iam_policy": (("create", "kms_key_id", *_REPORT), _HINT),
}
RESTART: Modes = {"restart": (_CHANGE, _HINT)}


def mode_of(options: Mapping[str, Any]) -> str:
    """Return the one of `MODES` that was requested, or ``restart`` if no values were given, or ``sync``.

    Raises:
        ConfigurationError: options cannot be combined, or there is nothing to do.
    """
    refuse_idle_options(MODES, options)
    mode = next((name for name in MODES if is_given(options[name])), "sync")
    has_values = any(options[name] for name in VALUES)
    if mode == "sync" and options["restart"] and not has_values:
        refuse_idle_options(RESTART, options)
        return "restart"
    if mode in {"sync", "validate"} and not has_values:
        raise ConfigurationError(
            "No values were given.",
            hint="Specify a FILE, - for standard input, or an option such as --set, --ask, --from-env or --generate. "
            "To show the secret, run: python manage.py sync_secrets --show",
        )
    if options["key"] and options["with_login"]:
        raise ConfigurationError("--key cannot be combined with --with-login.", hint=_HINT)
    for name, is_possible, required in (
        ("key", mode == "rollback", "--rollback"),
        ("with_login", mode == "rollback", "--rollback"),
        ("secret_tag", options["create"], "--create"),
        ("kms_key_id", options["create"] or mode == "iam_policy", "--create"),
        ("delete_file", options["file"] not in (None, "-"), "a FILE"),
        ("leaked", DJANGO_KEY in options["regenerate"], f"--regenerate {DJANGO_KEY}"),
    ):
        if options[name] and not is_possible:
            message = f"{flag(name)} requires {required}."
            raise ConfigurationError(message, hint=f"Add {required}, or remove {flag(name)}.")
    return mode


def add_value_options(parser: CommandParser) -> None:
    """Add FILE and the other options that give values."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="JSON file with the keys to set. Use - for stdin.")
    group = parser.add_argument_group("values", "Options with KEY are repeatable. Set each key only once.")
    for option, metavar, text in (
        ("--set", "KEY=VALUE", "Set a key that is not sensitive, for example port=5432."),
        ("--ask", "KEY", "Prompt for the value, without echo."),
        ("--from-env", "KEY=VARIABLE", "Read the value from an environment variable."),
        ("--unset", "KEY", "Remove a key that is not required."),
        ("--new-key", "KEY", "Allow a key that neither the contract nor the secret has."),
        (
            "--regenerate",
            "KEY",
            "Replace the value with a generated one. With password, logins fail until you run create_tenant_dbs: use "
            "rotate_credentials instead. With django_secret_key, the former key stays valid.",
        ),
    ):
        group.add_argument(option, action="append", default=[], metavar=metavar, help=text)
    for option, text in (
        ("--leaked", LEAKED_HELP),
        (
            "--generate",
            "Generate password, django_secret_key and custom keys that have a generator, if they are missing or a "
            "placeholder.",
        ),
        ("--stripe", "Set both Stripe keys; prompt unless they are given."),
        ("--delete-file", "Delete FILE after the write is verified."),
    ):
        group.add_argument(option, action="store_true", help=text)
    group.add_argument(
        "--email",
        metavar="gmail|ses[:REGION]",
        help="Set the mail host and port of Gmail or Amazon SES, and prompt for user and password unless they are "
        "given. For SES, the password can be an IAM secret key: the SMTP password is derived from it, and the key "
        "itself is not stored.",
    )


def add_mode_options(parser: CommandParser) -> None:
    """Add the modes, and the options of some of them."""
    modes = parser.add_argument_group(
        "modes",
        "Run one of these instead of a write; --restart can also follow one. --with-login and --key are options of "
        "--rollback.",
    )
    for option, text in (
        ("--show", "Show the state, length and fingerprint of each key."),
        ("--history", "Show all versions that AWS still has, and the keys that changed in each."),
        ("--validate", "Check the given values without AWS."),
        ("--iam-policy", IAM_POLICY_HELP),
        ("--restart", "Restart the ECS service of the settings and wait for its new tasks: after a write, or alone."),
        ("--with-login", "With --rollback: restore username and password, too, if PostgreSQL accepts them."),
    ):
        modes.add_argument(option, action="store_true", help=text)
    modes.add_argument(
        "--template",
        metavar="FILE",
        help="Write a JSON file with the keys that are missing or a placeholder, for you to fill in. Use - for stdout.",
    )
    modes.add_argument(
        "--rollback",
        nargs="?",
        const="",
        metavar="VERSION|AGE",
        help="Make another version current: the previous one, the one whose ID begins with VERSION (8 characters or "
        "more), or the newest one that is at least AGE old, for example 2h (m, h or d). Username, password and "
        "rotated keys stay as they are.",
    )
    modes.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="With --rollback: write only the value of this key from that version. Repeatable.",
    )


def add_creation_options(parser: CommandParser) -> None:
    """Add the options of a new secret."""
    creation = parser.add_argument_group("new secret")
    creation.add_argument("--create", action="store_true", help="Create the secret with the given values.")
    creation.add_argument(
        "--secret-tag", action="append", default=[], metavar="KEY=VALUE", help="Tag of the new secret. Repeatable."
    )
    creation.add_argument("--kms-key-id", metavar="ID", help="ID, ARN or alias of the KMS key that encrypts it.")


def without_values(message: str, arguments: Sequence[str]) -> str:
    """Return argparse's `message` without the values that it quotes: one might be a credential in the wrong place."""
    for argument in sorted(arguments, key=len, reverse=True):
        name, is_assignment, _ = argument.partition("=")
        if is_assignment:
            message = message.replace(argument, f"{name}=…")
        elif argument and not argument.startswith("-") and message.startswith("unrecognized arguments: "):
            message = message.replace(f" {argument}", " …")
    return message
