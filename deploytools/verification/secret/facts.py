"""Facts of the secret: its content, rotation, resource policy, and where Django and the project's files use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
from django.conf import settings as django_settings

from deploytools import aws
from deploytools.conf import Settings
from deploytools.secrets.contract import FIELDS, Problem, by_name, find_missing, find_problems, preset_fields
from deploytools.secrets.custom_fields import all_fields
from deploytools.secrets.custom_fields import custom_fields as own_fields
from deploytools.secrets.plan import SecretState
from deploytools.secrets.reader import SecretReader
from deploytools.verification.iam.policies import parse_policy
from deploytools.verification.registry import fact
from deploytools.verification.secret.secret_scan import (
    HISTORY_SECONDS,
    MIN_LENGTH,
    LeakedSecrets,
    credential_values,
    scan,
    scan_history,
)


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def secret(settings: Settings) -> SecretState:
    return SecretReader.connect(settings.secret_name, settings.region).read()


@dataclass(frozen=True)
class CustomFields:
    """The keys of ``DEPLOYTOOLS["SECRET_FIELDS"]``, validated.

    Attributes:
        missing: declared keys that the stage requires and the secret does not contain.
        problems: the rules that the other keys violate.
    """

    declared: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


@fact()
def custom_fields(secret: SecretState, settings: Settings) -> CustomFields:
    fields, stage = own_fields(settings.secret_fields), settings.stage
    return CustomFields(
        declared=tuple(field.name for field in fields),
        missing=find_missing(secret.document, stage=stage, fields=fields),
        problems=tuple(
            item for item in find_problems(secret.document, stage=stage, fields=fields) if item.key in by_name(fields)
        ),
    )


@dataclass(frozen=True)
class SecretDescription:
    """The response of DescribeSecret; None: not in the response.

    Attributes:
        key: the customer managed key that encrypts it, by id, ARN or alias; empty: ``aws/secretsmanager``.
        changed_at: when the secret, or its rotation schedule, was last changed.
        function: ARN of the rotation function; empty: none, or AWS rotates the secret itself.
        failed_replicas: Regions to which the secret could not be replicated.
        rotation_days: the days between rotations; None: not in the response, or a cron expression.
    """

    arn: str
    read_at: datetime
    rotates: bool | None
    rotated_at: datetime | None
    next_rotation: datetime | None
    key: str = ""
    rotation_days: int | None = None
    changed_at: datetime | None = None
    function: str = ""
    failed_replicas: tuple[str, ...] = ()


@fact(actions=("secretsmanager:DescribeSecret",))
def secret_description(secret: SecretState) -> SecretDescription:
    """The secret's ARN, rotation dates and KMS key."""
    with aws.translate_aws_errors("secretsmanager:DescribeSecret", f"the secret {secret.name} in {secret.region}"):
        response = aws.client("secretsmanager", secret.region).describe_secret(SecretId=secret.name)
    key = response.get("KmsKeyId", "")
    return SecretDescription(
        response["ARN"],
        datetime.now(UTC),
        response.get("RotationEnabled"),
        response.get("LastRotatedDate"),
        response.get("NextRotationDate"),
        "" if key.endswith("alias/aws/secretsmanager") else key,
        _rotation_days(response.get("RotationRules") or {}),
        response.get("LastChangedDate"),
        response.get("RotationLambdaARN", ""),
        tuple(sorted(r["Region"] for r in response.get("ReplicationStatus") or () if r.get("Status") == "Failed")),
    )


def _rotation_days(rules: Mapping[str, Any]) -> int | None:
    """Return the days of ``AutomaticallyAfterDays`` or of ``rate(10 days)``; an interval of hours is one day."""
    rate = re.fullmatch(r"rate\((\d+) (day|hour)s?\)", rules.get("ScheduleExpression", ""))
    if rate:
        return int(rate[1]) if rate[2] == "day" else 1
    return rules.get("AutomaticallyAfterDays")


@fact()
def secret_port(secret: SecretState) -> int | None:
    """The port in the secret; None: it is missing or not a number."""
    value = str(secret.document["port"].reveal()) if "port" in secret.document else ""
    return int(value) if value.isdecimal() else None


@dataclass(frozen=True)
class ResourcePolicy:
    """The secret's resource policy.

    Attributes:
        account: ID of the account that owns the secret.
        statements: the statements of the policy; none: there is no policy.
    """

    account: str
    statements: tuple[Mapping[str, Any], ...]


@fact(actions=("secretsmanager:GetResourcePolicy",))
def secret_policy(secret: SecretState) -> ResourcePolicy:
    with aws.translate_aws_errors("secretsmanager:GetResourcePolicy", f"the secret {secret.name} in {secret.region}"):
        response = aws.client("secretsmanager", secret.region).get_resource_policy(SecretId=secret.name)
    statements = parse_policy("of the secret", response.get("ResourcePolicy") or "{}").statements
    return ResourcePolicy(response["ARN"].split(":")[4], statements)


@dataclass(frozen=True)
class SettingsInUse:
    """Django settings other than DATABASES, compared with the secret.

    Attributes:
        equal, different: names of the settings.
    """

    equal: tuple[str, ...]
    different: tuple[str, ...]


@fact()
def settings_in_use(secret: SecretState, settings: Settings) -> SettingsInUse:
    """Django's key, mail server and every setting with the name of a key, such as ``STRIPE_SECRET_KEY``.

    `database_settings` compares ``DATABASES``.
    """
    used = {
        "SECRET_KEY": (django_settings.SECRET_KEY, "django_secret_key"),
    }
    used |= {name: (value, key) for key in SMTP_SETTINGS for name, value in [_smtp_setting(key)]}
    used |= {
        name.upper(): (getattr(django_settings, name.upper()), name)
        for name in secret.document
        if name not in SMTP_SETTINGS and hasattr(django_settings, name.upper()) and name not in DATABASE_KEYS
    }
    equal, different, chosen = list[str](), list[str](), by_name(preset_fields(settings.presets))
    for name, (value, key) in used.items():
        if (key in chosen or key not in by_name(FIELDS)) and key in secret.document:
            is_equal = str(secret.document[key].reveal()) == str(value)
            (equal if is_equal else different).append(name)
    different += _different_aliases(secret)
    return SettingsInUse(tuple(equal), tuple(different))


def _different_aliases(secret: SecretState) -> list[str]:
    """Return the passwords of further aliases with the host and the user of the secret that are not the secret's."""
    values = {key: str(value.reveal()) for key, value in secret.document.items() if key in DATABASE_KEYS}
    return [
        f"DATABASES['{alias}']['PASSWORD']"
        for alias, database in django_settings.DATABASES.items()
        if alias != "default" and database.get("PASSWORD") not in (None, "", values.get("password"))
        if (database.get("HOST"), database.get("USER")) == (values.get("host"), values.get("username"))
    ]


#: Keys of the secret that `database_settings` compares.
DATABASE_KEYS = by_name(preset_fields(["database"]))

#: Keys of the secret, and the setting or the option of the mailer "default" that has the value.
SMTP_SETTINGS = {
    "email_host": ("EMAIL_HOST", "host"),
    "email_port": ("EMAIL_PORT", "port"),
    "email_user": ("EMAIL_HOST_USER", "username"),
    "email_password": ("EMAIL_HOST_PASSWORD", "password"),
}


def _smtp_setting(key: str) -> tuple[str, Any]:
    """Return the name and the value of a setting for mail; None: the project does not set it.

    Django 6.1 has ``MAILERS``. With it, reading ``EMAIL_HOST`` raises; without it, reading the default value warns.
    """
    name, option = SMTP_SETTINGS[key]
    settings: Any = django_settings
    if django.VERSION >= (6, 1) and hasattr(settings, "MAILERS"):
        mailer = settings.MAILERS.get("default", {})
        return f"MAILERS['default']['OPTIONS']['{option}']", mailer.get("OPTIONS", {}).get(option)
    return name, getattr(settings, name, None) if settings.is_overridden(name) else None


@fact(deadline=lambda settings: 60 + HISTORY_SECONDS * settings.history)
def leaked_secrets(secret: SecretState, settings: Settings) -> LeakedSecrets:
    """The files below ``BASE_DIR`` that contain a credential of the secret or a key of ``SECRET_KEY_FALLBACKS``."""
    directory = getattr(django_settings, "BASE_DIR", None)
    if not directory:
        return LeakedSecrets("", 0, True, ())
    old_keys = {
        f"SECRET_KEY_FALLBACKS[{index}]": str(key)
        for index, key in enumerate(django_settings.SECRET_KEY_FALLBACKS)
        if len(str(key)) >= MIN_LENGTH
    }
    credentials = credential_values(secret.document, all_fields(settings.presets, settings.secret_fields))
    found = scan(Path(directory), credentials | old_keys)
    if not settings.history:
        return found
    in_history, gap = scan_history(Path(directory), credentials | old_keys)
    return replace(found, found=(*found.found, *in_history), history=gap)
