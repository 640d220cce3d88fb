"""Where the values of `sync_secrets` come from: a file, the terminal, the environment, another secret, or made here."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from deploytools.errors import ConfigurationError, Refused
from deploytools.management.secret_options import ValueOptions
from deploytools.secret import mail
from deploytools.secret.contract import Field, by_name
from deploytools.secret.document import Document
from deploytools.secret.making import make
from deploytools.secret.request import (
    NOTHING,
    Request,
    Way,
    assignments,
    combine,
    refuse_assignments,
    refuse_sensitive,
    refuse_unmakeable,
)
from deploytools.secret.value import Secret

STRIPE_KEYS = ("stripe_secret_key", "stripe_publishable_key")

#: Reads the current document of another secret by its name or ARN.
ReadOther = Callable[[str], Document]


def gather(
    options: ValueOptions,
    file: Document | None,
    fields: Sequence[Field],
    *,
    region: str,
    interactive: bool,
    read_other: ReadOther,
) -> Request:
    """Everything that was asked for, values read.

    Args:
        file: what FILE holds.
        region: the AWS Region of SES, where ``--email ses`` names none.
        interactive: whether a preset may ask for what it needs.
        read_other: how to read another secret.

    Raises:
        ConfigurationError: a value cannot be read, or options contradict each other.
        Refused: a value came by a way on which it does not stay secret.
    """
    for option, keys in (("--ask", options.ask), ("--unset", options.unset), ("--regenerate", options.regenerate)):
        refuse_assignments(option, keys)
    refuse_sensitive(assignments("--set", options.set), fields)
    refuse_unmakeable(options.regenerate, fields)
    ways = [*_named_ways(options, file, fields, read_other)]
    provider, mail_region = _provider(options.email, region)
    if provider:
        ways.append((f"--email {provider}", mail.preset(provider, mail_region)))
    ways += _asked_by_presets(options, ways, fields, interactive=interactive)
    if provider == "ses":
        ways = [(name, mail.with_derived_password(values, mail_region)) for name, values in ways]
    fills = make(fields, secrets.choice) if options.generate else NOTHING
    return combine(ways, unset=options.unset, fills=fills, made=options.regenerate)


def _named_ways(
    options: ValueOptions, file: Document | None, fields: Sequence[Field], read_other: ReadOther
) -> Iterator[Way]:
    if file is not None:
        yield "FILE", file
    yield "--set", Document(assignments("--set", options.set))
    yield (
        "--from-env",
        Document({key: _variable(key, name) for key, name in assignments("--from-env", options.from_env).items()}),
    )
    yield "--from-secret", _from_secrets(assignments("--from-secret", options.from_secret), read_other)
    yield "--regenerate", make(fields, secrets.choice, only=options.regenerate)
    yield "--ask", _asked(options.ask, fields)


def _variable(key: str, name: str) -> str:
    """The value of an environment variable; its name is not quoted, in case the value was typed instead of it."""
    if not os.environ.get(name):
        raise ConfigurationError(
            f"The environment variable that --from-env names for {key} is not set, or empty.",
            hint=f"Type it without echo: read -rs SECRET_VALUE; export SECRET_VALUE; … --from-env {key}=SECRET_VALUE",
        )
    return os.environ[name]


def _from_secrets(wanted: dict[str, str], read_other: ReadOther) -> Document:
    """The values of keys of other secrets; each secret is read once."""
    found = NOTHING
    documents: dict[str, Document] = {}
    for key, reference in wanted.items():
        other, separator, other_key = reference.rpartition("#")
        if not separator or not other or not other_key:
            raise ConfigurationError(
                f"--from-secret {key} does not say which key of which secret.",
                hint=f"For example: --from-secret {key}=prod/mail#password",
            )
        if other.split(":")[-1].startswith("rds!"):
            raise Refused(
                f"{other} belongs to RDS, which changes it every few days; a copy would be wrong soon.",
                hint="Name that secret where it is needed instead of copying it.",
            )
        if other not in documents:
            documents[other] = read_other(other)
        if other_key not in documents[other]:
            raise ConfigurationError(
                f"The secret {other} has no key {other_key}.", hint=f"It has: {', '.join(documents[other])}."
            )
        found = found.merge({key: documents[other][other_key]})
    return found


def _provider(email: str | None, region: str) -> tuple[str, str]:
    """Provider and Region of ``--email``."""
    if email is None:
        return "", region
    match = re.fullmatch("(gmail)|(ses)(?::([a-z0-9-]+))?", email)
    if not match:
        raise ConfigurationError("--email knows gmail and ses.", hint="For example: --email ses:us-east-1")
    return match[1] or match[2], match[3] or region


def _asked_by_presets(
    options: ValueOptions, ways: Sequence[Way], fields: Sequence[Field], *, interactive: bool
) -> Iterator[Way]:
    """What the presets need and nothing else gives."""
    given = {key for _, values in ways for key in values}
    for name, needed in (("--email", mail.NEEDED if options.email else ()), ("--stripe", STRIPE_KEYS * options.stripe)):
        if lacking := [key for key in needed if key not in given]:
            if not interactive or not sys.stdin.isatty():
                raise ConfigurationError(
                    f"{name} needs {' and '.join(lacking)}, and nobody can be asked.",
                    hint="Give it by --from-env KEY=VARIABLE, by a FILE, or by --set where it is not sensitive.",
                )
            yield name, _asked(lacking, fields)


def _asked(keys: Iterable[str], fields: Sequence[Field]) -> Document:
    """Values typed on the terminal; only what is not sensitive is seen there."""
    rows = by_name(fields)
    return Document({key: _ask(key, rows.get(key)).reveal() for key in keys})


def _ask(key: str, row: Field | None) -> Secret[str]:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{key} cannot be asked for: this is not a terminal.",
            hint=f"Give it by --from-env {key}=VARIABLE, or by a FILE that is not standard input.",
        )
    prompt = f"{key} ({row.shape}): " if row else f"{key}: "
    if row and not row.is_sensitive:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        answer = Secret(sys.stdin.readline().strip())
    else:
        answer = Secret(getpass.getpass(prompt))
    if not answer:
        raise Refused(f"Nothing was changed: {key} was left empty.", hint="Run it again when you have it.")
    return answer
