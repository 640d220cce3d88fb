"""The values for `sync_secrets`: generated values, mail servers, and all sources combined into one request. Pure.

Values from a file, the terminal or the environment are read by the command and passed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from deploytools.errors import ConfigurationError, Refused
from deploytools.secrets.contract import GMAIL_HOST, Field, by_name
from deploytools.secrets.document import EMPTY, Document, Secret, value_of
from deploytools.wording import printable

#: Letters and digits need no quoting in URLs, shells, JSON and libpq's connection strings.
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

#: Characters of a generated value, by `Field.generator`: some 238 and 381 bits.
GENERATED_LENGTHS = {"password": 40, "django_secret_key": 64}

#: Picks one character, for example `secrets.choice`.
Pick = Callable[[str], str]


def generated_keys(fields: Iterable[Field]) -> tuple[str, ...]:
    """Return the keys whose values can be generated."""
    return tuple(field.name for field in fields if field.generator)


def generate(fields: Iterable[Field], pick: Pick, *, only: Collection[str] | None = None) -> Document:
    """Generate a value for each field that has a generator; with `only`, for these keys.

    `pick` is the source of randomness.
    """
    wanted = [field for field in fields if field.generator and (only is None or field.name in only)]
    return Document({field.name: _generate(field, pick) for field in wanted})


def _generate(field: Field, pick: Pick) -> str:
    """Generate values until one satisfies the field's rule; nearly always the first one does."""
    while True:
        value = "".join(pick(ALPHABET) for _ in range(GENERATED_LENGTHS[field.generator]))
        if field.rule(value) is None:
            return value


# The options --email and --stripe.

SMTP_SUBMISSION_PORT = 587

#: Keys that ``--stripe`` prompts for.
STRIPE_KEYS = ("stripe_secret_key", "stripe_publishable_key")

IAM_SECRET_KEY = re.compile("[A-Za-z0-9+/]{40}")
SES_PASSWORD_VERSION = b"\x04"


def mail_server(provider: str, region: str) -> Document:
    """Return the mail host and port of ``gmail``, or of ``ses`` in `region`."""
    suffix = ".cn" if region.startswith("cn-") else ""
    host = GMAIL_HOST if provider == "gmail" else f"email-smtp.{region}.amazonaws.com{suffix}"
    return Document({"email_host": host, "email_port": SMTP_SUBMISSION_PORT})


def with_smtp_password(given: Mapping[str, Secret[Any]], region: str) -> Document:
    """Return `given` with an IAM secret key in ``email_password`` replaced by the SMTP password derived from it."""
    document = EMPTY.merge(given)
    password = value_of(given, "email_password")
    if not isinstance(password, str) or not IAM_SECRET_KEY.fullmatch(password):
        return document
    return document.merge({"email_password": smtp_password(Secret(password), region)})


def smtp_password(secret_key: Secret[str], region: str) -> Secret[str]:
    """Derive the Amazon SES SMTP password of one Region from an IAM secret access key.

    AWS publishes the algorithm: https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html
    """
    signature = f"AWS4{secret_key.reveal()}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.digest(signature, part.encode(), hashlib.sha256)
    return Secret(base64.b64encode(SES_PASSWORD_VERSION + signature).decode())


# The request.


def refuse_unknown(keys: Iterable[str], known: Collection[str], new_keys: Collection[str]) -> None:
    """Raise `Refused` if a key is neither in `known` nor in `new_keys`: it can be a mistyped one."""
    unknown = [key for key in keys if key not in known and key not in new_keys]
    if unknown:
        noun, them = ("key", "it") if len(unknown) == 1 else ("keys", "them")
        options = " ".join(f"--new-key {shlex.quote(key)}" for key in unknown)
        raise Refused(
            f"Unknown {noun} {_with_nearest(unknown, known)}: neither the contract nor the secret has {them}. "
            "Nothing was changed.",
            hint=f"Correct the name. If the key is new, add: {printable(options)}",
        )


def refuse_absent(keys: Iterable[str], document: Document) -> None:
    """Raise `Refused` if a key to remove is not in `document`."""
    if absent := [key for key in keys if key not in document]:
        raise Refused(
            f"--unset: the secret does not have {_with_nearest(absent, document)}. Nothing was changed.",
            hint="List the keys: python manage.py sync_secrets --show",
        )


def _with_nearest(keys: Iterable[str], known: Collection[str]) -> str:
    """Return names, each with the most similar one of `known`."""
    by_folded = {name.strip().casefold(): name for name in known}

    def described(key: str) -> str:
        nearest = get_close_matches(key.strip().casefold(), by_folded, n=1, cutoff=0.7)
        return printable(key) + (f" (did you mean {printable(by_folded[nearest[0]])}?)" if nearest else "")

    return ", ".join(map(described, keys))


@dataclass(frozen=True)
class Request:
    """The requested changes.

    Attributes:
        defaults: values for keys that are missing or a placeholder.
        generated: keys of `given` whose values were generated.
        now: the date of replaced credentials, in ISO 8601; empty: the values have their own.
    """

    given: Document
    unset: tuple[str, ...]
    defaults: Document
    generated: tuple[str, ...]
    now: str = ""


#: The option that values were given with, for example ``--ask``, and the values.
Source = tuple[str, Mapping[str, Secret[Any]]]


def combine(
    sources: Iterable[Source], *, unset: Sequence[str] = (), defaults: Document = EMPTY, generated: Sequence[str] = ()
) -> Request:
    """Combine the values of all sources into one request.

    Raises:
        ConfigurationError: two sources have the same key, or a key is both set and removed.
    """
    sources = list(sources)
    origin: dict[str, str] = {}
    given = EMPTY
    for name, values in (*sources, ("--unset", dict.fromkeys(unset, Secret(None)))):
        if repeated := [key for key in values if key in origin]:
            raise ConfigurationError(
                f"{printable(repeated[0])} is set twice: by {origin[repeated[0]]} and by {name}.",
                hint="Set each key only once.",
            )
        origin |= dict.fromkeys(values, name)
    for _, values in sources:
        given = given.merge(values)
    return Request(given, tuple(unset), defaults.without(unset), tuple(generated))


#: The form of each option's argument, and an example.
_FORMS = {
    "--set": ("KEY=VALUE", "port=5432"),
    "--from-env": ("KEY=VARIABLE", "password=NEW_PASSWORD"),
    "--secret-tag": ("KEY=VALUE", "tenant=shop"),
}


def parse_assignments(option: str, arguments: Iterable[str]) -> dict[str, str]:
    """Parse the arguments ``KEY=TEXT`` of a repeatable option.

    Raises:
        ConfigurationError: an argument has no ``=``, or a key is repeated. The message does not contain the argument,
            because it could be a credential.
    """
    form, example = _FORMS[option]
    parsed: dict[str, str] = {}
    for argument in arguments:
        key, separator, rest = argument.partition("=")
        if not separator or not key:
            raise ConfigurationError(f"{option} must have the form {form}.", hint=f"For example: {option} {example}")
        if key in parsed:
            raise ConfigurationError(f"{key} is set twice by {option}.", hint="Set each key only once.")
        parsed[key] = rest
    return parsed


def refuse_assignments(option: str, keys: Iterable[str]) -> None:
    """Raise `ConfigurationError` if a key is followed by ``=`` and a value; the message does not contain it."""
    if any("=" in key for key in keys):
        raise ConfigurationError(
            f"{option} takes the name of a key, without a value.", hint=f"For example: {option} password"
        )


def refuse_sensitive(keys: Iterable[str], fields: Sequence[Field]) -> None:
    """Raise `Refused` if a key's value is not allowed on a command line. Unrecognized keys count as sensitive."""
    known = by_name(fields)
    if refused := [key for key in keys if key not in known or known[key].is_sensitive]:
        raise Refused(
            f"--set is not allowed for {printable(*refused)}: every user of this machine can read process arguments, "
            "and the shell stores them in its history.",
            hint=f"Change the value at its source if it was a real one, then use --ask {refused[0]}, --from-env "
            f"{refused[0]}=VARIABLE or a FILE. To allow --set for a custom key, add it to "
            'DEPLOYTOOLS["SECRET_FIELDS"] with "sensitive": False.',
        )


def refuse_not_generated(keys: Iterable[str], fields: Sequence[Field]) -> None:
    """Raise `ConfigurationError` if a key's value cannot be generated."""
    available = generated_keys(fields)
    if refused := [key for key in keys if key not in available]:
        raise ConfigurationError(
            f"{printable(*refused)} cannot be generated; a third party issues it.",
            hint=f"Keys that can be generated: {', '.join(available)}.",
        )
