"""Read the values for `sync_secrets` from a file, the terminal and the environment."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deploytools.errors import ConfigurationError, Refused
from deploytools.secrets.contract import EMAIL, MAIL_LOGIN, STRIPE, Field, by_name
from deploytools.secrets.document import EMPTY, Document, Secret
from deploytools.secrets.inputs import (
    STRIPE_KEYS,
    Request,
    Source,
    combine,
    generate,
    mail_server,
    parse_assignments,
    refuse_assignments,
    refuse_not_generated,
    refuse_sensitive,
    with_smtp_password,
)
from deploytools.wording import printable


def read_request(
    options: Mapping[str, Any], file: Document, fields: Sequence[Field], *, region: str, interactive: bool
) -> Request:
    """Read all requested values.

    Args:
        file: content of FILE; empty without FILE.
        region: AWS Region of SES, unless ``--email`` has one.
        interactive: whether ``--email`` and ``--stripe`` can prompt for missing values.

    Raises:
        ConfigurationError: a value cannot be read, or options contradict each other.
        Refused: a sensitive value was given on the command line, or a prompt was left empty.
    """
    for option, keys in (
        ("--ask", options["ask"]),
        ("--unset", options["unset"]),
        ("--regenerate", options["regenerate"]),
    ):
        refuse_assignments(option, keys)
    _refuse_without_preset(options, fields)
    refuse_sensitive(parse_assignments("--set", options["set"]), fields)
    refuse_not_generated(options["regenerate"], fields)
    sources = [*_named_sources(options, file, fields)]
    provider, mail_region = _mail_provider(options["email"], region)
    if provider:
        sources.append((f"--email {provider}", mail_server(provider, mail_region)))
    sources += _prompted_by_options(options, sources, fields, interactive=interactive)
    if provider == "ses":
        sources = [(name, with_smtp_password(values, mail_region)) for name, values in sources]
    defaults = generate(fields, secrets.choice) if options["generate"] else EMPTY
    return combine(sources, unset=options["unset"], defaults=defaults, generated=options["regenerate"])


def _refuse_without_preset(options: Mapping[str, Any], fields: Sequence[Field]) -> None:
    for preset, its_fields in (("email", EMAIL), ("stripe", STRIPE)):
        if options[preset] and its_fields[0] not in fields:
            raise ConfigurationError(
                f'--{preset} requires the preset "{preset}".', hint=f'Add "{preset}" to DEPLOYTOOLS["PRESETS"].'
            )


def _named_sources(options: Mapping[str, Any], file: Document, fields: Sequence[Field]) -> Iterator[Source]:
    """Yield the sources that name their keys. Prompts come last: all other errors are reported before them."""
    yield "FILE", file
    yield "--set", Document(parse_assignments("--set", options["set"]))
    variables = parse_assignments("--from-env", options["from_env"])
    yield "--from-env", Document({key: _environment_value(key, name) for key, name in variables.items()})
    yield "--regenerate", generate(fields, secrets.choice, only=options["regenerate"])
    yield "--ask", _prompt_for(options["ask"], fields)


def _environment_value(key: str, variable: str) -> str:
    """Return the value of an environment variable. The error does not contain its name: it might be the value."""
    if not os.environ.get(variable):
        raise ConfigurationError(
            f"The environment variable of --from-env {key}=… is not set, or empty.",
            hint=f"Run: read -rs SECRET_VALUE && export SECRET_VALUE, then pass --from-env {key}=SECRET_VALUE",
        )
    return os.environ[variable]


def _mail_provider(email: str | None, region: str) -> tuple[str, str]:
    if email is None:
        return "", region
    match = re.fullmatch("(gmail)|(ses)(?::([a-z0-9-]+))?", email)
    if not match:
        raise ConfigurationError("--email must be gmail or ses[:REGION].", hint="For example: --email ses:us-east-1")
    return match[1] or match[2], match[3] or region


def _prompted_by_options(
    options: Mapping[str, Any], sources: Sequence[Source], fields: Sequence[Field], *, interactive: bool
) -> Iterator[Source]:
    given = {key for _, values in sources for key in values}
    for name, keys in (
        ("--email", MAIL_LOGIN if options["email"] else ()),
        ("--stripe", STRIPE_KEYS * options["stripe"]),
    ):
        if missing := [key for key in keys if key not in given]:
            if not interactive or not sys.stdin.isatty():
                raise ConfigurationError(
                    f"{name} requires {' and '.join(missing)}, but a prompt is not possible.",
                    hint="Use --from-env KEY=VARIABLE, a FILE, or --set for a key that is not sensitive.",
                )
            yield name, _prompt_for(missing, fields)


def _prompt_for(keys: Iterable[str], fields: Sequence[Field]) -> Document:
    known = by_name(fields)
    return Document({key: _prompt(key, known.get(key)).reveal() for key in keys})


def _prompt(key: str, field: Field | None) -> Secret[str]:
    """Read a value from the terminal; only a value that is not sensitive is echoed."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"Cannot prompt for {printable(key)}: stdin is not a terminal.",
            hint=f"Use --from-env {key}=VARIABLE, or a FILE other than standard input.",
        )
    expected = f" ({field.expected})".replace("…", "...") if field else ""  # A terminal's encoding can be ASCII.
    prompt = f"{printable(key)}{expected}: "
    if field and not field.is_sensitive:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        value = Secret(sys.stdin.readline().strip())
    else:
        try:
            value = Secret(getpass.getpass(prompt))
        except EOFError:  # Ctrl-D.
            sys.stderr.write("\n")
            value = Secret("")
    if not value:
        raise Refused(f"No value was entered for {printable(key)}. Nothing was changed.", hint="Run the command again.")
    return value
