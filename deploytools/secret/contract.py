"""The contract of the secret: one row a field, and the rules that decide whether a document keeps it. Pure.

The fields are those of the guide (Step 1) and the known optional ones. Keys that are not in the table are kept as
they are and judged by nobody here. What is *required* is the consumer's word (`settings_production`), not this table's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploytools.secret.document import Document
from deploytools.secret.value import Secret

#: A rule returns the sentence of how a value breaks it, or None. The sentence never quotes the value.
Rule = Callable[[Any], str | None]

PASSWORD_LENGTH = 32
SECRET_KEY_LENGTH = 50
SECRET_KEY_UNIQUE = 5

#: Values that only hold the place of a real one: the guide's templates and what people type in a hurry.
PLACEHOLDER = re.compile(
    r"placeholder|^paste_|^replace_|^auto_generated_|^change[-_]?me|^todo$|^xxxx|^your[-_]", re.IGNORECASE
)
EXAMPLE_DOMAIN = re.compile(r"(^|[@.])example\.(com|org|net)$", re.IGNORECASE)

#: What the guide puts in place of Stripe keys until there is an account (2.1).
STRIPE_NOT_YET = re.compile(r"(sk|pk)_test_placeholder_no_stripe_account_yet")

TEST_MODE = "is a test-mode key"

GMAIL_HOST = "smtp.gmail.com"
SES_HOST = re.compile(r"email-smtp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class Problem:
    """One rule that a document breaks.

    Attributes:
        key: the field.
        sentence: how, without the value.
        shape: what a good value looks like, made up.
        is_warning: allowed at this stage, worth saying.
    """

    key: str
    sentence: str
    shape: str
    is_warning: bool = False


@dataclass(frozen=True)
class Field:
    """One row of the contract.

    Attributes:
        name: the key.
        rule: how a value is judged, once it is known to be present and no placeholder.
        shape: what a good value looks like, made up.
        is_sensitive: whether it may be typed on a command line.
        is_number: whether JSON numbers are meant; digits in a string are accepted as well.
    """

    name: str
    rule: Rule
    shape: str
    is_sensitive: bool = True
    is_number: bool = False


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a text"
    if not value:
        return "is empty"
    if value != value.strip():
        return "begins or ends with a space or a line break"
    return None


def _matches(pattern: str, sentence: str) -> Rule:
    compiled = re.compile(pattern)
    return lambda value: _text(value) or (None if compiled.fullmatch(value) else sentence)


def _port(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdecimal():
        return "must be a number"
    return None if len(str(value)) < 9 and 0 < int(value) < 65_536 else "must be from 1 to 65535"


def _password(value: Any) -> str | None:
    if problem := _text(value):
        return problem
    if len(value) < PASSWORD_LENGTH:
        return f"has {len(value)} characters; {PASSWORD_LENGTH} or more are needed"
    if len(set(value)) < 8:
        return "repeats the same few characters"
    if set(value) & set('/"@ ') or not value.isprintable():
        return 'holds one of / " @ or a space, which RDS does not take'
    return None


def _django_secret_key(value: Any) -> str | None:
    if problem := _text(value):
        return problem
    if len(value) < SECRET_KEY_LENGTH:
        return f"has {len(value)} characters; {SECRET_KEY_LENGTH} or more are needed"
    if len(set(value)) < SECRET_KEY_UNIQUE:
        return f"has fewer than {SECRET_KEY_UNIQUE} different characters"
    return "is one that startproject made (django-insecure-…)" if value.startswith("django-insecure-") else None


_ENDPOINT = "cluster.abc123.us-east-1.rds.amazonaws.com"
_HOST = _matches(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", "is not a host name")
_ROLE = _matches(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", "is not a role name that is safe everywhere")
_STRIPE = r"_(live|test)_[A-Za-z0-9]{24,255}"

FIELDS: tuple[Field, ...] = (
    Field("engine", _matches(r"postgres(ql)?", 'must be "postgres" or "postgresql"'), "postgres", is_sensitive=False),
    Field("host", _HOST, _ENDPOINT, is_sensitive=False),
    Field("port", _port, "5432", is_sensitive=False, is_number=True),
    Field("username", _ROLE, "django_app", is_sensitive=False),
    Field("password", _password, f"{PASSWORD_LENGTH} or more random letters and digits"),
    Field("dbClusterIdentifier", _text, "my-instance", is_sensitive=False),
    Field("django_secret_key", _django_secret_key, f"{SECRET_KEY_LENGTH} or more random characters"),
    Field(
        "stripe_secret_key",
        _matches(r"(sk|rk)" + _STRIPE, "is not a secret or restricted key of Stripe's"),
        "sk_live_… and 24 or more letters and digits",
    ),
    Field(
        "stripe_publishable_key",
        _matches("pk" + _STRIPE, "is not a publishable key of Stripe's"),
        "pk_live_… and 24 or more letters and digits",
    ),
    Field("email_host", _HOST, "smtp.gmail.com", is_sensitive=False),
    Field("email_port", _port, "587", is_sensitive=False, is_number=True),
    Field("email_user", _text, "you@your-domain.com, or the SES SMTP user", is_sensitive=False),
    Field("email_password", _text, "16 letters for Gmail, 44 characters for SES"),
    Field("master_username", _ROLE, "postgres", is_sensitive=False),
    Field("master_password", _text, "the password of the RDS master user"),
    Field("stripe_webhook_secret", _matches(r"whsec_\S{16,255}", "is not a webhook secret of Stripe's"), "whsec_…"),
    Field("superuser_username", _text, "admin", is_sensitive=False),
    Field("superuser_email", _matches(r"[^@\s]+@[^@\s]+", "is not an address"), "you@your-domain.com"),
    Field("superuser_password", _text, "a password that Django's validators accept"),
)
BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}


def normalise(document: Mapping[str, Secret[Any]], current: Mapping[str, Secret[Any]]) -> Document:
    """`document` in the form in which it is stored.

    Digits given for a number become a number, unless the stored value means the same already: then its type stays.
    A Gmail app password loses the spaces and hyphens in which Google shows it.
    """
    host = (document.get("email_host") or current.get("email_host") or Secret("")).reveal()
    values = {key: secret.reveal() for key, secret in document.items()}
    for key, value in values.items():
        stored = current[key].reveal() if key in current else None
        if key in BY_NAME and BY_NAME[key].is_number and _port(value) is None:
            values[key] = stored if str(stored) == str(value) and _port(stored) is None else int(value)
        elif key == "email_password" and host == GMAIL_HOST and isinstance(value, str):
            values[key] = re.sub(r"[\s-]", "", value)
    return Document(values)


def problems(document: Mapping[str, Secret[Any]], *, stage: str) -> tuple[Problem, ...]:
    """Every rule that the fields present in `document` break, in the order of the table.

    Args:
        document: the whole document, not only what changes: some rules judge pairs.
        stage: at ``pre-launch`` the guide's Stripe stand-ins and test keys only warn.
    """
    single = [
        problem
        for field in FIELDS
        if field.name in document and (problem := _judge(field, document[field.name].reveal(), stage))
    ]
    return (*single, *_mail_problems(document, single), *_stripe_pair_problems(document, single))


def is_placeholder(value: object) -> bool:
    """Whether `value` only holds the place of a real one."""
    return isinstance(value, str) and bool(PLACEHOLDER.search(value) or EXAMPLE_DOMAIN.search(value))


def _judge(field: Field, value: Any, stage: str) -> Problem | None:
    is_early = stage == "pre-launch"
    if isinstance(value, str) and STRIPE_NOT_YET.fullmatch(value):
        return Problem(
            field.name, "is the stand-in for a Stripe account that does not exist yet", field.shape, is_early
        )
    if is_placeholder(value):
        return Problem(field.name, "is still a placeholder", field.shape)
    if sentence := field.rule(value):
        return Problem(field.name, sentence, field.shape)
    if field.name.startswith("stripe_") and "_test_" in value:
        return Problem(field.name, TEST_MODE, field.shape, is_early)
    return None


def _mail_problems(document: Mapping[str, Secret[Any]], found: list[Problem]) -> list[Problem]:
    """The password must fit the host: Google's app passwords and SES's SMTP passwords have known shapes."""
    if "email_host" not in document or "email_password" not in document:
        return []
    if any(problem.key in {"email_host", "email_password"} for problem in found):
        return []
    host, password = str(document["email_host"].reveal()), str(document["email_password"].reveal())
    if host == GMAIL_HOST and not re.fullmatch(r"[a-z]{16}", password):
        return [Problem("email_password", "is not a Gmail app password", "16 lowercase letters, no spaces")]
    if SES_HOST.fullmatch(host) and not re.fullmatch(r"[A-Za-z0-9+/]{44}", password):
        return [Problem("email_password", "is not an SMTP password of SES's", "44 characters; not the IAM secret key")]
    return []


def _stripe_pair_problems(document: Mapping[str, Secret[Any]], found: list[Problem]) -> list[Problem]:
    """Both keys must be of one mode: a live page with a test key takes no money and says it did."""
    names = ("stripe_secret_key", "stripe_publishable_key")
    if any(name not in document for name in names):
        return []
    if any(item.key in names and not item.is_warning and item.sentence != TEST_MODE for item in found):
        return []
    modes = {str(document[name].reveal()).split("_")[1] for name in names}
    if len(modes) == 1:
        return []
    return [Problem(name, "is of another mode than its pair: one is live, one is test", "one mode") for name in names]
