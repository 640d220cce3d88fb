"""The options of `sync_secrets`, group by group, and which of them go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.core.management.base import CommandParser

from deploytools.errors import ConfigurationError

#: Options that do something else than merge values; at most one of them.
MODES = ("show", "template", "validate", "schema", "rollback", "restore", "iam_policy")


@dataclass(frozen=True)
class ValueOptions:
    """The options by which values come, as they were typed."""

    file: str | None
    set: list[str]
    ask: list[str]
    from_env: list[str]
    from_secret: list[str]
    unset: list[str]
    generate: bool
    regenerate: list[str]
    email: str | None
    stripe: bool

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ValueOptions:
        """Those of them among all options."""
        return cls(**{field.name: options[field.name] for field in fields(cls)})

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that were given."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))


def mode_of(options: Mapping[str, Any]) -> str:
    """Which of `MODES` is asked for; ``sync`` for none of them.

    Raises:
        ConfigurationError: options that do not go together, or nothing to do.
    """
    mode = next((name for name in MODES if options[name] not in (None, False)), "sync")
    values = ValueOptions.of(options).given
    if mode in {"sync", "validate"} and not values:
        raise ConfigurationError(
            "No values were given.",
            hint="Name a FILE, or - for standard input, or --set, --ask, --from-env, --generate, … To look: --show.",
        )
    if mode not in {"sync", "validate"} and values:
        raise ConfigurationError(
            f"{_option(mode)} takes no values, and {_option(values[0])} gives some.", hint="Run the two one by one."
        )
    if mode == "validate" and options["from_secret"]:
        raise ConfigurationError("--validate asks AWS nothing, so --from-secret has no value.", hint="Leave one out.")
    for name, allowed in (("create", {"sync", "iam_policy"}), ("delete_file", {"sync"})):
        if options[name] and mode not in allowed:
            raise ConfigurationError(f"{_option(name)} and {_option(mode)} do not go together.", hint="Leave one out.")
    if (options["tag"] or options["kms_key_id"]) and not (options["create"] or mode == "iam_policy"):
        raise ConfigurationError("--tag and --kms-key-id are for a secret that is created.", hint="Add --create.")
    if options["delete_file"] and options["file"] in (None, "-"):
        raise ConfigurationError("There is no file that --delete-file could delete.", hint="Name a FILE.")
    return mode


def _option(name: str) -> str:
    return "FILE" if name == "file" else "--" + name.replace("_", "-")


def add_values(parser: CommandParser) -> None:
    """FILE and everything else by which values come; each merges only what it names."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="JSON object with the keys to set; - reads standard input."
    )
    group = parser.add_argument_group("values", "Each may be given several times; a key comes by one way only.")
    for option, metavar, text in (
        ("--set", "KEY=VALUE", "Set a key that is not sensitive, such as email_port=587."),
        ("--ask", "KEY", "Ask for the value on the terminal, without echo."),
        ("--from-env", "KEY=VARIABLE", "Take the value from an environment variable."),
        ("--from-secret", "KEY=OTHER#KEY", "Take the value from a key of another secret in Secrets Manager."),
        ("--unset", "KEY", "Take out a key that nobody requires."),
        ("--regenerate", "KEY", "Make a new value although there is one (password: the database role has to follow)."),
    ):
        group.add_argument(option, action="append", default=[], metavar=metavar, help=text)
    group.add_argument(
        "--generate", action="store_true", help="Make password and django_secret_key where there is none."
    )
    group.add_argument(
        "--email",
        metavar="gmail|ses[:REGION]",
        help="Set host and port of Gmail or Amazon SES, and ask for user and password where they are not given. For "
        "SES an IAM secret key may be given: the SMTP password is made of it, and the key is stored nowhere.",
    )
    group.add_argument("--stripe", action="store_true", help="Set both Stripe keys; ask for them where not given.")
    group.add_argument(
        "--delete-file", action="store_true", help="Delete FILE once what it holds is written and read back."
    )


def add_modes(parser: CommandParser) -> None:
    """What is done instead of merging, and for a secret that is not there."""
    modes = parser.add_argument_group("instead of merging values")
    group = modes.add_mutually_exclusive_group()
    group.add_argument("--show", action="store_true", help="Show each key's state, length and fingerprint.")
    group.add_argument(
        "--template",
        metavar="FILE",
        help="Write a file to fill in: what is missing or a placeholder. - prints it.",
    )
    group.add_argument("--validate", action="store_true", help="Judge the values given, without AWS.")
    group.add_argument("--schema", action="store_true", help="Print the JSON Schema of FILE, for an editor.")
    group.add_argument(
        "--rollback",
        nargs="?",
        const="",
        metavar="VERSION",
        help="Make the previous version, or VERSION, the current one again.",
    )
    group.add_argument("--restore", action="store_true", help="Undo the deletion that the secret is scheduled for.")
    group.add_argument("--iam-policy", action="store_true", help="Print the least policy this command needs.")
    creation = parser.add_argument_group("a secret that does not exist")
    creation.add_argument("--create", action="store_true", help="Create the secret with the values given.")
    creation.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="A tag for it.")
    creation.add_argument("--kms-key-id", default="", metavar="ID", help="The key that encrypts it (id, ARN or alias).")
