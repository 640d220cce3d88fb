"""The options of `sync_secrets`, and the rules which of them can be combined."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.core.management.base import CommandParser

from deploytools.errors import ConfigurationError
from deploytools.management.base import IAM_POLICY_HELP, LEAKED_HELP
from deploytools.secrets.contract import DJANGO_KEY

#: Options that do something else than write values; at most one of them.
MODES = ("show", "history", "template", "validate", "rollback", "iam_policy")


#: Options that give values.
VALUES = ("file", "set", "ask", "from_env", "unset", "generate", "regenerate", "email", "stripe")


def mode_of(options: Mapping[str, Any]) -> str:
    """Return the one of `MODES` that was requested, or ``sync``.

    Raises:
        ConfigurationError: options cannot be combined, or there is nothing to do.
    """
    mode = next((name for name in MODES if options[name] not in (None, False)), "sync")
    values = [name for name in VALUES if options[name]]
    if mode == "sync" and options["restart"] and not values:
        mode = "restart"
    if mode in {"sync", "validate"} and not values:
        raise ConfigurationError(
            "No values were given.",
            hint="Specify a FILE, - for standard input, or an option such as --set, --ask, --from-env or --generate. "
            "To show the secret, run: python manage.py sync_secrets --show",
        )
    if mode not in {"sync", "validate"} and values:
        raise _conflict(mode, values[0])
    for name, modes in (
        ("create", {"sync", "iam_policy"}),
        ("delete_file", {"sync"}),
        ("new_key", {"sync"}),
        ("leaked", {"sync"}),
        ("key", {"rollback"}),
        ("with_login", {"rollback"}),
        ("restart", {"sync", "rollback", "restart"}),
    ):
        if options[name] and mode not in modes:
            raise _conflict(name, mode) if mode != "sync" else _requires(name, modes)
    if options["key"] and options["with_login"]:
        raise _conflict("key", "with_login")
    if (options["secret_tag"] or options["kms_key_id"]) and not (options["create"] or mode == "iam_policy"):
        raise ConfigurationError("--secret-tag and --kms-key-id require --create.", hint="Add --create.")
    if options["delete_file"] and options["file"] in (None, "-"):
        raise ConfigurationError("--delete-file requires a FILE.", hint="Specify a FILE, or remove --delete-file.")
    if options["leaked"] and DJANGO_KEY not in options["regenerate"]:
        raise ConfigurationError(f"--leaked requires --regenerate {DJANGO_KEY}.", hint="Add it, or remove --leaked.")
    return mode


def _requires(name: str, modes: Collection[str]) -> ConfigurationError:
    needed = _option(next(iter(modes)))
    return ConfigurationError(f"{_option(name)} requires {needed}.", hint=f"Add {needed}, or remove {_option(name)}.")


def _conflict(one: str, other: str) -> ConfigurationError:
    message = f"{_option(one)} cannot be combined with {_option(other)}."
    return ConfigurationError(message, hint="Remove one of them.")


def _option(name: str) -> str:
    return "FILE" if name == "file" else "--" + name.replace("_", "-")


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
            "Replace the value with a generated one. Instead of --regenerate password, after which logins fail until "
            "create_tenant_dbs, use rotate_credentials. With django_secret_key, the former key stays valid.",
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
    """Add the modes, and the options of a new secret."""
    modes = parser.add_argument_group("modes", "Run one of these instead of setting values.")
    group = modes.add_mutually_exclusive_group()
    for option, text in (
        ("--show", "Show the state, length and fingerprint of each key."),
        ("--history", "Show all versions that AWS still has, and the keys that changed in each."),
        ("--validate", "Check the given values without AWS."),
        ("--iam-policy", IAM_POLICY_HELP),
    ):
        group.add_argument(option, action="store_true", help=text)
    group.add_argument(
        "--template",
        metavar="FILE",
        help="Write a JSON file with the keys that are missing or a placeholder, for you to fill in. Use - for stdout.",
    )
    group.add_argument(
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
    modes.add_argument(
        "--with-login",
        action="store_true",
        help="With --rollback: restore username and password, too, if PostgreSQL accepts them.",
    )
    modes.add_argument(
        "--restart",
        action="store_true",
        help="Restart the ECS service of the settings and wait for its new tasks: after a write, or alone.",
    )
    creation = parser.add_argument_group("new secret")
    creation.add_argument("--create", action="store_true", help="Create the secret with the given values.")
    creation.add_argument(
        "--secret-tag", action="append", default=[], metavar="KEY=VALUE", help="Tag of the new secret. Repeatable."
    )
    creation.add_argument(
        "--kms-key-id", default="", metavar="ID", help="ID, ARN or alias of the KMS key that encrypts it."
    )
