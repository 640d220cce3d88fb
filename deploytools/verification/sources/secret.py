"""Facts of the secret beside its content: rotation, who else may read it, and what Django uses of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from deploytools import aws
from deploytools.conf import configuration
from deploytools.secret.contract import FIELDS, Problem, by_name, missing, problems
from deploytools.secret.host import contract
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation


@dataclass(frozen=True)
class OwnKeys:
    """The project's own keys of the secret, judged by the validators that it names for them.

    Attributes:
        declared: the keys of ``SECRET_FIELDS``.
        missing: those that the stage asks for and the secret lacks.
        problems: the rules that the others break.
    """

    declared: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


@fact()
def own_keys(secret: SecretState, expectation: Expectation) -> OwnKeys:
    """What ``DEPLOYTOOLS["SECRET_FIELDS"]`` says of the secret."""
    fields, stage = contract()[len(FIELDS) :], expectation.stage
    return OwnKeys(
        declared=tuple(field.name for field in fields),
        missing=missing(secret.document, (), stage=stage, fields=fields),
        problems=tuple(
            item for item in problems(secret.document, stage=stage, fields=fields) if item.key in by_name(fields)
        ),
    )


@dataclass(frozen=True)
class SecretDescription:
    """What DescribeSecret says; None where it says nothing.

    Attributes:
        key: the customer-managed key that encrypts it, by id, ARN or alias; empty: AWS's own, ``aws/secretsmanager``.
    """

    arn: str
    read_at: datetime
    rotates: bool | None
    rotated_at: datetime | None
    next_rotation: datetime | None
    key: str = ""


@fact(actions=("secretsmanager:DescribeSecret",))
def secret_description(secret: SecretState) -> SecretDescription:
    """The secret's ARN and the dates of its rotation."""
    with aws.calling("secretsmanager:DescribeSecret", f"the secret {secret.name} in {secret.region}"):
        said = aws.client("secretsmanager", secret.region).describe_secret(SecretId=secret.name)
    return SecretDescription(
        said["ARN"],
        datetime.now(UTC),
        said.get("RotationEnabled"),
        said.get("LastRotatedDate"),
        said.get("NextRotationDate"),
        "" if said.get("KmsKeyId", "").endswith("alias/aws/secretsmanager") else said.get("KmsKeyId", ""),
    )


@fact()
def secret_port(secret: SecretState) -> int | None:
    """The port that the secret names; None: it names none that is a number."""
    value = str(secret.document["port"].reveal()) if "port" in secret.document else ""
    return int(value) if value.isdecimal() else None


@dataclass(frozen=True)
class ResourcePolicy:
    """Who may do what with the secret besides the account's own identities.

    Attributes:
        account: the account that the secret is in.
        statements: the policy's statements; none where there is no policy.
    """

    account: str
    statements: tuple[Mapping[str, Any], ...]


@fact(actions=("secretsmanager:GetResourcePolicy",))
def secret_policy(secret: SecretState) -> ResourcePolicy:
    """The secret's resource policy."""
    with aws.calling("secretsmanager:GetResourcePolicy", f"the secret {secret.name} in {secret.region}"):
        said = aws.client("secretsmanager", secret.region).get_resource_policy(SecretId=secret.name)
    found = json.loads(said.get("ResourcePolicy") or "{}").get("Statement", [])
    statements = found if isinstance(found, list) else [found]
    return ResourcePolicy(said["ARN"].split(":")[4], tuple(statements))


@dataclass(frozen=True)
class SettingsInUse:
    """Which of Django's settings hold what the secret holds.

    Attributes:
        agreeing, differing: names of settings.
    """

    agreeing: tuple[str, ...]
    differing: tuple[str, ...]


@fact()
def settings_in_use(secret: SecretState) -> SettingsInUse:
    """Django's server and credentials beside the secret's; a tenant's own login is in another secret."""
    database = settings.DATABASES.get("default", {})
    used = {
        "SECRET_KEY": (settings.SECRET_KEY, "django_secret_key"),
        "DATABASES['default']['HOST']": (database.get("HOST"), "host"),
        "EMAIL_HOST": (settings.EMAIL_HOST, "email_host"),
        "EMAIL_HOST_PASSWORD": (settings.EMAIL_HOST_PASSWORD, "email_password"),
    }
    if configuration.is_shared:
        used["DATABASES['default']['PASSWORD']"] = (database.get("PASSWORD"), "password")
        used["DATABASES['default']['USER']"] = (database.get("USER"), "username")
    by_agreement: dict[bool, list[str]] = {True: [], False: []}
    for name, (value, key) in used.items():
        if key in secret.document:
            by_agreement[str(secret.document[key].reveal()) == str(value)].append(name)
    return SettingsInUse(tuple(by_agreement[True]), tuple(by_agreement[False]))
