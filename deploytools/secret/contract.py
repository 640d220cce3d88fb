"""The contract of the secret: one row a field, and what decides whether a document keeps it. Pure.

The fields are those of the guide (Step 1) and the known optional ones; a host adds its own (`deploytools.secret.host`).
Keys that are in no table are kept as they are and judged by nobody, apart from what the template left to be replaced.
Apart from the database's, which keys have to be there is the consumer's word (`settings_production`), not this table's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploytools.secret.document import Document
from deploytools.secret.pairs import GMAIL_HOST, TEST_MODE, pair_problems
from deploytools.secret.pairs import Problem as Problem
from deploytools.secret.rules import (
    PASSWORD_LENGTH,
    SECRET_KEY_LENGTH,
    DjangoSecretKey,
    Matches,
    Password,
    Port,
    Rule,
    Text,
)
from deploytools.secret.value import Secret

#: The stages in their order.
STAGES = ("pre-launch", "launch")

#: Values that only hold the place of a real one: the guide's templates and what people type in a hurry.
PLACEHOLDER = re.compile(
    r"placeholder|^paste_|^replace_|^auto_generated_|^change[-_]?me|^todo$|^xxxx|^your[-_]", re.IGNORECASE
)
EXAMPLE_DOMAIN = re.compile(r"(^|[@.])example\.(com|org|net)$", re.IGNORECASE)

#: What the guide puts in place of Stripe keys until there is an account (2.1).
STRIPE_NOT_YET = "(sk|pk)_test_placeholder_no_stripe_account_yet"

PLACEHOLDER_STAYS = "is still a placeholder"

#: What `--template` writes before what a good value looks like, and what that is for a key that no row knows.
TO_REPLACE = "REPLACE_ME: "
OWN_SHAPE = "a value of the host’s own"


@dataclass(frozen=True)
class Field:
    """One row of the contract.

    Attributes:
        name: the key.
        rule: how a value is judged, once it is known to be present and no placeholder.
        shape: what a good value looks like, made up.
        is_sensitive: False: the value may be typed on a command line.
        is_number: whether a JSON number is meant; digits in a string are accepted as well.
        required_from: the stage from which the key has to be there, whatever the consumer says; empty: its word alone.
        made_by: how a value can be made here (`deploytools.secret.making`); empty: it comes from somebody else.
        placeholder: what also holds the place of a real value here; a regular expression for the whole text.
        stand_in: as `placeholder`, but only warns before launch.
    """

    name: str
    rule: Rule
    shape: str
    is_sensitive: bool = True
    is_number: bool = False
    required_from: str = ""
    made_by: str = ""
    placeholder: str = ""
    stand_in: str = ""

    def is_required(self, stage: str) -> bool:
        """Whether the key has to be there at `stage`."""
        return bool(self.required_from) and STAGES.index(self.required_from) <= STAGES.index(stage)


_ENDPOINT = "cluster.abc123.us-east-1.rds.amazonaws.com"
_HOST = Matches("[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", "is not a host name")
_ROLE = Matches("[A-Za-z_][A-Za-z0-9_$]{0,62}", "is not a role name that is safe everywhere")
_STRIPE = "_(live|test)_[A-Za-z0-9]{24,255}"
_NOT_SECRET_KEY = "is not a secret or restricted key of Stripe's"  # noqa: S105
_NOT_PUBLISHABLE = "is not a publishable key of Stripe's"
_FIRST = STAGES[0]

FIELDS: tuple[Field, ...] = (
    Field("engine", Matches("postgres(ql)?", 'must be "postgres" or "postgresql"'), "postgres", is_sensitive=False),
    Field("host", _HOST, _ENDPOINT, is_sensitive=False, required_from=_FIRST),
    Field("port", Port(), "5432", is_sensitive=False, is_number=True, required_from=_FIRST),
    Field("username", _ROLE, "django_app", is_sensitive=False, required_from=_FIRST),
    Field(
        "password",
        Password(),
        f"{PASSWORD_LENGTH} or more random letters and digits",
        required_from=_FIRST,
        made_by="password",
    ),
    Field("dbClusterIdentifier", Text(), "my-instance", is_sensitive=False),
    Field(
        "django_secret_key",
        DjangoSecretKey(),
        f"{SECRET_KEY_LENGTH} or more random characters",
        made_by="django_secret_key",
    ),
    Field(
        "stripe_secret_key",
        Matches("(sk|rk)" + _STRIPE, _NOT_SECRET_KEY),
        "sk_live_… and 24 or more letters and digits",
        stand_in=STRIPE_NOT_YET,
    ),
    Field(
        "stripe_publishable_key",
        Matches("pk" + _STRIPE, _NOT_PUBLISHABLE),
        "pk_live_… and 24 or more letters and digits",
        stand_in=STRIPE_NOT_YET,
    ),
    Field("email_host", _HOST, GMAIL_HOST, is_sensitive=False),
    Field("email_port", Port(), "587", is_sensitive=False, is_number=True),
    Field("email_user", Text(), "you@your-domain.com, or the SES SMTP user", is_sensitive=False),
    Field("email_password", Text(), "16 letters for Gmail, 44 characters for SES"),
    Field("master_username", _ROLE, "postgres", is_sensitive=False),
    Field("master_password", Text(), "the password of the RDS master user"),
    Field("stripe_webhook_secret", Matches(r"whsec_\S{16,255}", "is not a webhook secret of Stripe's"), "whsec_…"),
    Field("superuser_username", Text(), "admin", is_sensitive=False),
    Field(
        "superuser_email", Matches(r"[^@\s]+@[^@\s]+", "is not an address"), "you@your-domain.com", is_sensitive=False
    ),
    Field("superuser_password", Text(), "a password that Django's validators accept"),
)


def by_name(fields: Iterable[Field]) -> Mapping[str, Field]:
    """The rows by their keys."""
    return {field.name: field for field in fields}


def normalise(
    document: Mapping[str, Secret[Any]], current: Mapping[str, Secret[Any]], *, fields: Sequence[Field] = FIELDS
) -> Document:
    """`document` in the form in which it is stored.

    Digits given for a number become a number, unless the stored value means the same already: then its type stays.
    A Gmail app password loses the spaces and hyphens in which Google shows it.
    """
    numbers = {field.name for field in fields if field.is_number}
    host = (document.get("email_host") or current.get("email_host") or Secret("")).reveal()
    values = {key: secret.reveal() for key, secret in document.items()}
    for key, value in values.items():
        if key in numbers:
            values[key] = _as_number(value, current[key].reveal() if key in current else None)
        elif key == "email_password" and host == GMAIL_HOST and isinstance(value, str):
            values[key] = re.sub(r"[\s-]", "", value)
    return Document(values)


def _as_number(value: Any, stored: Any) -> Any:
    if not _is_number(value):
        return value
    return stored if _is_number(stored) and str(stored) == str(value) else int(value)


def _is_number(value: Any) -> bool:
    """Whether `value` is a whole number, or the digits of one that Python and JSON readers take."""
    is_right_type = isinstance(value, int | str) and not isinstance(value, bool)
    return is_right_type and str(value).isascii() and str(value).isdecimal() and len(str(value)) <= 18


def problems(
    document: Mapping[str, Secret[Any]], *, stage: str, fields: Sequence[Field] = FIELDS
) -> tuple[Problem, ...]:
    """Every rule that the fields present in `document` break, in the order of the table.

    Args:
        document: the whole document, not only what changes: some rules judge pairs.
        stage: at ``pre-launch`` the guide's Stripe stand-ins and test keys only warn.
        fields: the rows to judge by.
    """
    single = [
        problem
        for field in fields
        if field.name in document and (problem := _judge(field, document[field.name].reveal(), stage))
    ]
    return (*single, *pair_problems(document, single), *_left_to_replace(document, by_name(fields)))


def _left_to_replace(document: Mapping[str, Secret[Any]], rows: Mapping[str, Field]) -> Iterator[Problem]:
    """Keys that no row judges and that hold what the template put there."""
    for key in document:
        if key not in rows and str(document[key].reveal()).startswith(TO_REPLACE):
            yield Problem(key, PLACEHOLDER_STAYS, OWN_SHAPE)


def missing(
    document: Mapping[str, Secret[Any]], required: Iterable[str], *, stage: str, fields: Sequence[Field] = FIELDS
) -> tuple[str, ...]:
    """The keys that `document` lacks or holds empty, of those that `required` or a row of `fields` asks for."""
    wanted = dict.fromkeys([*required, *(field.name for field in fields if field.is_required(stage))])
    return tuple(key for key in wanted if key not in document or document[key].reveal() in ("", None))


def is_placeholder(value: object, field: Field | None = None) -> bool:
    """Whether `value` only holds the place of a real one, in general or in `field`."""
    if not isinstance(value, str):
        return False
    if field and any(own and re.fullmatch(own, value) for own in (field.placeholder, field.stand_in)):
        return True
    return bool(PLACEHOLDER.search(value) or EXAMPLE_DOMAIN.search(value))


def _judge(field: Field, value: Any, stage: str) -> Problem | None:
    is_early = stage == _FIRST
    if isinstance(value, str) and field.stand_in and re.fullmatch(field.stand_in, value):
        sentence = "is the stand-in for a Stripe account that does not exist yet"
        if not field.name.startswith("stripe_"):
            sentence = "is the stand-in for a value that is not there yet"
        return Problem(field.name, sentence, field.shape, is_early)
    if is_placeholder(value, field):
        return Problem(field.name, PLACEHOLDER_STAYS, field.shape)
    if sentence := field.rule(value) or "":
        return Problem(field.name, sentence, field.shape)
    if field.name.startswith("stripe_") and isinstance(value, str) and "_test_" in value:
        return Problem(field.name, TEST_MODE, field.shape, is_early)
    return None
