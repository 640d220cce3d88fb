"""Checks of the secret: its values, rotation and resource policy, and copies of its values. No evidence has a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from deploytools.conf import Settings
from deploytools.secrets.contract import (
    EMAIL,
    FIELDS,
    STRIPE,
    by_name,
    find_missing,
    find_problems,
    host_name,
    password,
    preset_fields,
    required_keys,
)
from deploytools.secrets.document import Secret
from deploytools.secrets.plan import SecretState
from deploytools.verification.findings import (
    Severity,
    Stage,
    Status,
    Verdict,
    failed,
    not_applicable,
    passed,
    unknown,
    warned,
)
from deploytools.verification.iam.policies import account_of, argument, binding_conditions, name_of, principals
from deploytools.verification.local_hosts import is_local
from deploytools.verification.registry import check
from deploytools.verification.secret.facts import CustomFields, ResourcePolicy
from deploytools.verification.secret.secret_scan import MIN_LENGTH, NOT_READ, LeakedSecrets
from deploytools.wording import count, join_names

CHECKLIST = "Security Checklist: All production secrets stored in AWS Secrets Manager"
NOT_IN_CODE = f"{CHECKLIST} (not in code)"
SYNC = "Write the correct value into a JSON file and run: python manage.py sync_secrets FILE"

STRIPE_KEYS = tuple(field.name for field in STRIPE)
MAIL_KEYS = tuple(field.name for field in EMAIL)
PASSWORDS = ("password", "master_password", "superuser_password")
DJANGO_KEY = ("django_secret_key",)

#: Keys with names, the characters of a name or word that a random password does not contain, and words of passwords.
NAMES, MIN_NAME = ("username", "owner", "master_username", "dbClusterIdentifier"), 5
WORDS = {
    "password",
    "passw0rd",
    "secret",
    "admin",
    "welcome",
    "production",
    "postgres",
    "database",
    "django",
    "letmein",
}

#: Credentials that must have different values.
DISTINCT = (*PASSWORDS, *DJANGO_KEY, "email_password", "stripe_secret_key", "stripe_webhook_secret")

#: Files that an evidence names before "and … more".
MAX_PATHS = 5

#: A Stripe key that begins with the ID of its account, as keys do since 2020.
STRIPE_ACCOUNT = re.compile(r"[spr]k_(?:live|test)_5(1[A-Za-z0-9]{15})")

#: Words of placeholders within a value, a value in angle brackets, one letter twelve times, and a repeated unit.
PLACEHOLDER_WORDS = re.compile(
    r"replace_?(me|this|with)|change_?(me|this|it)|(real|your)_?(password|key|secret|token)|(password|key)_goes_here"
    r"|(?:^|_)(todo|fixme|your|example|dummy)(?:_|$)|^<.*>$|(?P<letter>.)(?P=letter){11}|^(?P<unit>.{1,10}?)(?P=unit){2,}$",
    re.IGNORECASE,
)

content_check = partial(check, guide=CHECKLIST, hint=SYNC)


def _length(secret: SecretState, key: str) -> str:
    return f"{len(str(secret.document[key].reveal()))} characters"


def _evaluate(
    secret: SecretState,
    settings: Settings,
    keys: Iterable[str],
    describe: Callable[[list[str]], str] = lambda present: f"valid: {', '.join(present)}",
    *,
    stage: str = "launch",
) -> Iterable[Verdict]:
    """One failure for each key with a problem; without problems, one pass for all of `keys` in the secret."""
    fields = preset_fields(settings.presets)
    present = [key for key in keys if key in secret.document and key in by_name(fields)]
    if not present:
        return [not_applicable("the secret has none of these keys (secret.complete reports the required ones)")]
    wrong: dict[str, list[str]] = {}
    for item in find_problems(secret.document, stage=stage, fields=fields):
        if item.key in present and not item.is_warning:
            wrong.setdefault(item.key, []).append(f"{item.message} (expected: {item.expected})")
    for key in present:
        field = by_name(fields)[key]
        if field.is_sensitive and key not in wrong and _resembles_placeholder(str(secret.document[key].reveal())):
            wrong[key] = [f"resembles a placeholder (expected: {field.expected})"]
    return [failed("; ".join(sentences), key) for key, sentences in wrong.items()] or [passed(describe(present))]


def _resembles_placeholder(value: str) -> bool:
    return PLACEHOLDER_WORDS.search(re.sub(r"[\s-]+", "_", value)) is not None


@content_check(
    "secret.complete",
    title="Secret contains every key that the production settings require",
    severity=Severity.CRITICAL,
    hint="Write the missing keys into a JSON file and run: python manage.py sync_secrets FILE",
    tags=("startup",),
)
def complete(secret: SecretState, settings: Settings) -> Verdict:
    """The application does not start without them."""
    fields = preset_fields(settings.presets)
    if missing := find_missing(secret.document, stage=settings.stage, fields=fields):
        return failed(f"missing: {', '.join(missing)}")
    required = required_keys(secret.document, stage=settings.stage, fields=fields)
    return passed(f"contains all {count(len(required), 'key')}")


@content_check(
    "secret.stripe-live",
    title="Stripe keys are live mode keys",
    severity=Severity.HIGH,
    stage=Stage.LAUNCH,
    guide="Security Checklist: Stripe production keys configured (not test keys)",
    preset="stripe",
)
def stripe_live(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """With a test mode key, customers can complete an order but no money is paid."""
    return _evaluate(secret, settings, STRIPE_KEYS[:2])


@content_check(
    "secret.stripe-format",
    title="Stripe keys have the correct format",
    severity=Severity.HIGH,
    guide="Security Checklist: Stripe production keys configured (not test keys)",
    preset="stripe",
)
def stripe_format(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """Payments fail with a placeholder, with swapped keys, and with keys of two different modes."""
    verdicts = _evaluate(secret, settings, STRIPE_KEYS, stage="pre-launch")
    values = [str(secret.document[key].reveal()) for key in STRIPE_KEYS[:2] if key in secret.document]
    accounts = {found[1] for value in values if (found := STRIPE_ACCOUNT.match(value))}
    if len(accounts) > 1 and not any(verdict.status is Status.FAIL for verdict in verdicts):
        return [warned("stripe_secret_key and stripe_publishable_key are of different Stripe accounts")]
    return verdicts


@content_check(
    "secret.mail",
    title="SMTP server name and login are valid",
    severity=Severity.HIGH,
    guide="Security Checklist: Email SMTP credentials configured and tested",
    preset="email",
)
def mail(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """With an invalid value the application sends no email, such as order confirmations and password resets."""
    return _evaluate(secret, settings, MAIL_KEYS)


@check(
    "secret.database-passwords",
    title="Database passwords are strong",
    severity=Severity.HIGH,
    guide="Security Checklist: Database passwords are strong (32+ characters, auto-generated)",
    hint="Run: python manage.py rotate_credentials password, or master_password. For superuser_password: "
    "python manage.py sync_secrets --ask superuser_password",
)
def database_passwords(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """An attacker in the network can try passwords as fast as the server responds."""
    verdicts = _evaluate(
        secret, settings, PASSWORDS, lambda present: ", ".join(f"{key}: {_length(secret, key)}" for key in present)
    )
    weak = [failed(problem, key) for key in PASSWORDS if (problem := _weakness(secret, key))]
    known = {verdict.resource for verdict in verdicts if verdict.status is Status.FAIL}
    return [verdict for verdict in verdicts if verdict.resource or not weak] + [
        verdict for verdict in weak if verdict.resource not in known
    ]


def _weakness(secret: SecretState, key: str) -> str | None:
    """Apply the rule of the application's password, except for the characters that RDS does not accept."""
    if key not in secret.document:
        return None
    value = str(secret.document[key].reveal())
    names = {str(secret.document[name].reveal()).lower() for name in NAMES if name in secret.document}
    if any(len(name) >= MIN_NAME and name in value.lower() for name in names):
        return "contains the name of a database role"
    words = {word for text in (*names, secret.name.lower()) for word in re.split(r"[^a-z0-9]+", text)} | WORDS
    if any(len(word) >= MIN_NAME and word in value.lower() for word in words):
        return "contains a word: it was not generated"
    return password(re.sub(r'[/"@ ]', "-", value))


@check(
    "secret.django-key",
    title="SECRET_KEY is strong",
    severity=Severity.CRITICAL,
    guide="Security Checklist: Django SECRET_KEY is unique for production (50+ characters)",
    hint="Run: python manage.py sync_secrets --regenerate django_secret_key --leaked (it logs out all users; without "
    "--leaked, the weak key stays valid)",
    references=("Django security.W009",),
    preset="django",
)
def django_key(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """It signs sessions and password reset links: an attacker who knows or guesses it can log in as any user."""
    return _evaluate(secret, settings, DJANGO_KEY, lambda present: _length(secret, present[0]))


@content_check("secret.other-values", title="Other values of the secret are valid", severity=Severity.MEDIUM)
def other_values(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """A wrong host or role, or a remaining placeholder, is noticed only when the application first uses it."""
    others = {*STRIPE_KEYS, *MAIL_KEYS, *PASSWORDS, *DJANGO_KEY}
    verdicts = _evaluate(secret, settings, [field.name for field in FIELDS if field.name not in others])
    host = host_name(secret.document)
    if is_local(host) or (host and "." not in host) or host.endswith((".localhost", ".docker.internal")):
        hint = "Set host to the endpoint of the RDS instance. For a tunnel, set hostaddr in OPTIONS of the settings"
        local = failed(f"{host} is not the endpoint of a server in production", "host", hint)
        return [*(verdict for verdict in verdicts if verdict.resource), local]
    return verdicts


@content_check("secret.custom-fields", title="Custom fields of the secret are valid", severity=Severity.HIGH)
def valid_custom_fields(custom_fields: CustomFields) -> Iterable[Verdict]:
    """A wrong value is noticed only when the application first uses it. Keys that are not declared are not checked."""
    if not custom_fields.declared:
        return [not_applicable('DEPLOYTOOLS["SECRET_FIELDS"] is not set')]
    found = [failed("is missing", key) for key in custom_fields.missing]
    for item in (problem for problem in custom_fields.problems if problem.key not in custom_fields.missing):
        found.append((warned if item.is_warning else failed)(f"{item.message} (expected: {item.expected})", item.key))
    return found or [passed(f"valid: {', '.join(custom_fields.declared)}")]


@check(
    "secret.distinct",
    title="Every credential of the secret is different",
    severity=Severity.HIGH,
    guide="Security Checklist: Database passwords are strong",
    hint="Set a different value for each: python manage.py sync_secrets FILE",
)
def distinct(secret: SecretState, settings: Settings) -> Iterable[Verdict]:
    """If two credentials have the same value, a leak of one exposes both, and both must then be changed."""
    known = by_name(preset_fields(settings.presets)).keys() & secret.document.keys()
    present: Mapping[str, Secret[Any]] = {key: secret.document[key] for key in DISTINCT if key in known}
    same = [
        failed("they have the same value, or one contains the other", f"{first} {second}")
        for index, second in enumerate(present)
        for first in list(present)[:index]
        if _overlap(*(str(present[key].reveal()) for key in (first, second)))
    ]
    return same or [passed(f"{count(len(present), 'credential')}, all different")]


def _overlap(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= MIN_LENGTH and short in long)


@check(
    "secret.not-shared",
    title="Resource policy of the secret grants no access to other accounts",
    severity=Severity.CRITICAL,
    guide=NOT_IN_CODE,
    hint="Run: aws secretsmanager put-resource-policy --secret-id SECRET --resource-policy file://FILE, with the "
    "intended statements only",
    references=(
        "Prowler secretsmanager_not_publicly_accessible",
        "Prowler secretsmanager_has_restrictive_resource_policy",
    ),
)
def not_shared(secret_policy: ResourcePolicy, secret: SecretState) -> Iterable[Verdict]:
    """A resource policy can grant access to other AWS accounts, even if no IAM policy of this account does."""
    allowing = [statement for statement in secret_policy.statements if statement.get("Effect") == "Allow"]
    public = [statement for statement in allowing if _is_public(statement)]
    found = [
        failed(_public_access(statement), name_of(statement), _removal_hint(public, secret_policy, secret))
        for statement in public
    ]
    where = f"--secret-id {secret.name} --region {secret.region}"
    for statement in (statement for statement in allowing if statement not in public):
        if access := _doubtful_access(statement, secret_policy.account):
            hint = f"Run: aws secretsmanager get-resource-policy {where} (and restrict it with put-resource-policy)"
            found.append(warned(f"{_label(statement)} {access}", name_of(statement), hint))
    statements = secret_policy.statements
    return found or [
        passed(f"{count(len(statements), 'statement')}, all for this account" if statements else "no policy")
    ]


def _label(statement: Mapping[str, Any]) -> str:
    return f"statement {statement.get('Sid', 'without a Sid')} allows"


def _is_public(statement: Mapping[str, Any]) -> bool:
    return "*" in principals(statement) and not binding_conditions(statement)


def _public_access(statement: Mapping[str, Any]) -> str:
    if "NotPrincipal" in statement:
        return f"{_label(statement)} every principal except those in its NotPrincipal"
    keys = sorted({key for pairs in (statement.get("Condition") or {}).values() for key in pairs})
    ineffective = f"; its condition ({', '.join(keys)}) does not restrict that" if keys else ""
    return f"{_label(statement)} every AWS account (*){ineffective}"


def _doubtful_access(statement: Mapping[str, Any], account: str) -> str:
    """What an operator must review in a statement that is not public; empty: nothing."""
    for principal in principals(statement):
        if principal == "*":
            keys = ", ".join(key for key, _ in binding_conditions(statement))
            return f"* under a condition ({keys}); review it" if keys else ""
        if principal.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            continue
        if account_of(principal) != account:
            return f"{principal}, {'of another account' if account_of(principal) else 'an unknown principal'}"
    return "all actions except those in its NotAction" if "NotAction" in statement else ""


def _removal_hint(public: list[Mapping[str, Any]], policy: ResourcePolicy, secret: SecretState) -> str:
    """The command that removes the public statements and keeps the others, which can deny access."""
    kept = [statement for statement in policy.statements if statement not in public]
    where = f"--secret-id {secret.name} --region {secret.region}"
    if not kept:
        return f"Run: aws secretsmanager delete-resource-policy {where} (the policy has no other statement)"
    return (
        f"Run: aws secretsmanager put-resource-policy {where} --block-public-policy "
        f"--resource-policy {argument(kept)} (keeps the other statements)"
    )


@check(
    "secret.not-in-code",
    title="Project files and, with --git-history, their Git history contain no value of the secret",
    severity=Severity.CRITICAL,
    guide=NOT_IN_CODE,
    hint="Remove the value from the file and its history, and write a new value to the secret: "
    "python manage.py sync_secrets FILE",
    references=("Prowler ecr_repository_image_no_secrets",),
)
def not_in_code(leaked_secrets: LeakedSecrets) -> Iterable[Verdict]:
    """Anyone with access to the repository, a build log or an image can read a value that is in the code."""
    if not leaked_secrets.directory:
        return [not_applicable("BASE_DIR is not set")]
    found = [
        failed(f"found in line {line}" if line else "found in the Git history", f"{key} {path}")
        for key, path, line in leaked_secrets.found
    ]
    if not leaked_secrets.is_complete:
        evidence = f"only the first {leaked_secrets.files:,} files of {leaked_secrets.directory} were read"
        found.append(unknown(evidence, hint="Set BASE_DIR to a directory that contains only the project"))
    if leaked_secrets.unreadable:
        evidence = f"could not be read: {join_names(leaked_secrets.unreadable, MAX_PATHS)}"
        found.append(unknown(evidence, hint="Run the check as a user that is allowed to read these files"))
    if leaked_secrets.oversized:
        evidence = f"not read because of their size or format: {join_names(leaked_secrets.oversized, MAX_PATHS)}"
        found.append(unknown(evidence, hint="Search these files yourself, and move them out of BASE_DIR"))
    read, is_skipped = f"{leaked_secrets.files:,} files read", leaked_secrets.history == NOT_READ
    if leaked_secrets.history and not is_skipped:
        found.append(unknown(leaked_secrets.history, hint="Search the rest of the history with another tool"))
    history = "; the Git history is read with --git-history" if is_skipped else " and in the Git history"
    return found or [passed(f"no value was found in the files{history}", measured=read)]
