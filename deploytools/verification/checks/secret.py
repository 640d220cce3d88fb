"""Checks of the secret's content, by item of the checklist; no value appears in what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deploytools.secret.contract import FIELDS, Problem, problems
from deploytools.secret.sync import SecretState
from deploytools.secret.value import Secret
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation
from deploytools.verification.sources.secret import OwnKeys

CHECKLIST = "Security Checklist: All production secrets stored in AWS Secrets Manager"
SYNC = "Write the right value into a JSON file and run: python manage.py sync_secrets FILE"

STRIPE = ("stripe_secret_key", "stripe_publishable_key", "stripe_webhook_secret")
MAIL = ("email_host", "email_port", "email_user", "email_password")
PASSWORDS = ("password", "master_password", "superuser_password")
DJANGO_KEY = ("django_secret_key",)

#: What must be known to nobody, and so be used once.
DISTINCT = (*PASSWORDS, *DJANGO_KEY, "email_password", "stripe_secret_key", "stripe_webhook_secret")


def _problems(secret: SecretState, stage: str = "launch") -> tuple[Problem, ...]:
    return problems(secret.document, stage=stage)


def _judge(
    secret: SecretState, keys: Iterable[str], found: Iterable[Problem], seen: Callable[[list[str]], str]
) -> Iterable[Verdict]:
    """One verdict a key that is not as it should be; else one for all of `keys` that are there."""
    present = [key for key in keys if key in secret.document]
    if not present:
        return [not_applicable("the secret has no such key (secret.complete says which it needs)")]
    wrong: dict[str, list[str]] = {}
    for item in found:
        if item.key in present:
            wrong.setdefault(item.key, []).append(f"{item.sentence} (good: {item.shape})")
    return [failed("; ".join(said), key) for key, said in wrong.items()] or [passed(seen(present))]


def _names(present: list[str]) -> str:
    return f"{', '.join(present)} as they should be"


@check(
    "secret.complete",
    title="The secret has every key that the production settings need",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Write the missing keys into a JSON file and run: python manage.py sync_secrets FILE",
    tags=("startup",),
)
def complete(secret: SecretState, expectation: Expectation) -> Verdict:
    """The production settings refuse to start without them. What is required is the consumer's word."""
    missing = [key for key in expectation.required_keys if not secret.document.get(key)]
    if missing:
        return failed(f"missing: {', '.join(missing)}")
    return passed(f"all {len(expectation.required_keys)} are there")


@check(
    "secret.stripe-live",
    title="Stripe's keys are live ones",
    severity=Severity.HIGH,
    stage=Stage.LAUNCH,
    guide="Security Checklist: Stripe production keys configured (not test keys)",
    hint=SYNC,
)
def stripe_live(secret: SecretState) -> Iterable[Verdict]:
    """With a test key the shop says that the customer has paid, and no money comes. Until launch that is meant."""
    return _judge(secret, STRIPE[:2], _problems(secret), _names)


@check(
    "secret.stripe-form",
    title="Stripe's keys have the form of Stripe's keys",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Stripe production keys configured (not test keys)",
    hint=SYNC,
)
def stripe_form(secret: SecretState) -> Iterable[Verdict]:
    """A placeholder, a publishable key in the secret one's place, two modes: payments fail, each in its own way."""
    found = [item for item in _problems(secret, "pre-launch") if not item.is_warning]
    return _judge(secret, STRIPE, found, _names)


@check(
    "secret.mail",
    title="The mail server's name and login are real ones",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Email SMTP credentials configured and tested",
    hint=SYNC,
)
def mail(secret: SecretState) -> Iterable[Verdict]:
    """Orders are confirmed and passwords reset by mail: a shop without it loses both, and says nothing."""
    return _judge(secret, MAIL, _problems(secret), _names)


@check(
    "secret.database-passwords",
    title="The databases' passwords are strong",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Database passwords are strong (32+ characters, auto-generated)",
    hint="Run: python manage.py sync_secrets --regenerate password, then python manage.py create_tenant_dbs, which "
    "gives it to the role. For master_password and superuser_password: python manage.py sync_secrets --ask KEY",
)
def database_passwords(secret: SecretState) -> Iterable[Verdict]:
    """Whoever is in the network may try passwords as fast as the server answers."""

    def seen(present: list[str]) -> str:
        return ", ".join(f"{key}: {len(str(secret.document[key].reveal()))} characters" for key in present)

    return _judge(secret, PASSWORDS, _problems(secret), seen)


@check(
    "secret.django-key",
    title="Django's SECRET_KEY is a strong one",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Django SECRET_KEY is unique for production (50+ characters)",
    hint="Run: python manage.py sync_secrets --regenerate django_secret_key",
    peers=("Django security.W009",),
)
def django_key(secret: SecretState) -> Iterable[Verdict]:
    """It signs sessions and password-reset links: whoever knows or guesses it is any user."""

    def seen(_: list[str]) -> str:
        return f"{len(str(secret.document['django_secret_key'].reveal()))} characters"

    return _judge(secret, DJANGO_KEY, _problems(secret), seen)


@check(
    "secret.other-values",
    title="The address, the roles and the rest of the known keys are of the right form",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint=SYNC,
)
def other_values(secret: SecretState) -> Iterable[Verdict]:
    """Every process needs the address and the role, and a placeholder in any key waits for the day it is read."""
    judged = {*STRIPE, *MAIL, *PASSWORDS, *DJANGO_KEY}
    keys = [field.name for field in FIELDS if field.name not in judged]
    return _judge(secret, keys, _problems(secret), _names)


@check(
    "secret.own-keys",
    title="The project's own keys of the secret keep their rules",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint=SYNC,
)
def own_keys_kept(own_keys: OwnKeys) -> Iterable[Verdict]:
    """A key of the project's own fails on the day when it is first read. Keys that nobody declares are not judged."""
    if not own_keys.declared:
        return [not_applicable('none is declared (DEPLOYTOOLS["SECRET_FIELDS"])')]
    broken = [failed("is missing", key) for key in own_keys.missing]
    for item in (problem for problem in own_keys.problems if problem.key not in own_keys.missing):
        broken.append((warned if item.is_warning else failed)(f"{item.sentence} (good: {item.shape})", item.key))
    return broken or [passed(_names(list(own_keys.declared)))]


@check(
    "secret.distinct",
    title="No two credentials of the secret are the same",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Database passwords are strong",
    hint="Give each its own value: python manage.py sync_secrets FILE",
)
def distinct(secret: SecretState) -> Iterable[Verdict]:
    """One value for two doors: whoever gets through one is through both, and neither can be changed alone."""
    present: Mapping[str, Secret[Any]] = {key: secret.document[key] for key in DISTINCT if key in secret.document}
    same = [
        failed("they have the same value", f"{first} {second}")
        for index, second in enumerate(present)
        for first in list(present)[:index]
        if present[first] == present[second]
    ]
    return same or [passed(f"{len(present)} credentials, all different")]
