"""Django system checks of ``settings.DEPLOYTOOLS``: an error tells what is wrong and what would be right.

``deploytools.E001`` an unknown key, or no dict · ``E002`` a wrong type or a value outside the choices · ``E003`` a
tenant's name or option · ``E004`` a waiver · ``E005`` an AWS account that is no number of twelve digits · ``E006`` a
row of ``SECRET_FIELDS``. They import neither botocore nor psycopg: every start of Django runs them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import cast

from django.conf import settings
from django.core.checks import CheckMessage, Error

from deploytools.conf import CHOICES, KEYS, configuration
from deploytools.databases.tenants import name_violations, option_violations
from deploytools.errors import ConfigurationError
from deploytools.secret.host import violations as field_violations
from deploytools.verification.waivers import EXAMPLE
from deploytools.verification.waivers import violations as waiver_violations


def check_settings(**_: object) -> list[CheckMessage]:
    """Django system check of ``settings.DEPLOYTOOLS``."""
    given = getattr(settings, "DEPLOYTOOLS", {})
    if not isinstance(given, dict):
        return [
            Error("DEPLOYTOOLS is not a dict.", hint='Write DEPLOYTOOLS = {"TENANTS": [...]}', id="deploytools.E001")
        ]
    return [
        *(_unknown(key) for key in given if key not in KEYS),
        *(message for key in given if key in KEYS for message in _wrong(key, given[key])),
    ]


def _unknown(key: object) -> CheckMessage:
    return Error(
        f'DEPLOYTOOLS has a key that nobody reads: "{key}".',
        hint=f"The keys are: {', '.join(KEYS)}.",
        id="deploytools.E001",
    )


def _wrong(key: str, value: object) -> list[CheckMessage]:
    types = KEYS[key][0]
    if not isinstance(value, types) or isinstance(value, bool):
        wanted = " or ".join(kind.__name__ for kind in types)
        return [
            Error(
                f'DEPLOYTOOLS["{key}"] is of type {type(value).__name__}.',
                hint=f"It must be: {wanted}.",
                id="deploytools.E002",
            )
        ]
    if key in CHOICES and value not in CHOICES[key]:
        return [
            Error(
                f'DEPLOYTOOLS["{key}"] is {value!r}.',
                hint=f"It must be one of: {', '.join(CHOICES[key])}.",
                id="deploytools.E002",
            )
        ]
    if key == "ACCOUNT" and value and not re.fullmatch(r"[0-9]{12}", str(value)):
        return [
            Error(
                f'DEPLOYTOOLS["ACCOUNT"] is {value!r}, which is no AWS account.',
                hint="It has twelve digits, as a text: aws sts get-caller-identity --query Account",
                id="deploytools.E005",
            )
        ]
    if key == "PORT" and value != "" and not (str(value).isdecimal() and 0 < int(cast(str, value)) < 65536):
        return [Error('DEPLOYTOOLS["PORT"] is not a port.', hint="It must be from 1 to 65535.", id="deploytools.E002")]
    return []


def check_tenants(**_: object) -> list[CheckMessage]:
    """Django system check of the tenants' names and options."""
    try:
        violations = [
            *name_violations(configuration.tenants),
            *option_violations(configuration.tenant_options, 'DEPLOYTOOLS["TENANT_OPTIONS"]'),
        ]
    except ConfigurationError:
        return []  # Of a wrong type: deploytools.E002 says so.
    return [Error(sentence, hint=hint, id="deploytools.E003") for sentence, hint in violations]


def check_secret_fields(**_: object) -> list[CheckMessage]:
    """Django system check of the host's own keys of the secret."""
    try:
        rows = configuration.secret_fields
    except ConfigurationError:
        return []  # Of a wrong type: deploytools.E002 says so.
    return [Error(sentence, hint=hint, id="deploytools.E006") for sentence, hint in field_violations(rows)]


def check_waivers(**_: object) -> list[CheckMessage]:
    """Django system check of the waivers."""
    try:
        found = waiver_violations(configuration.waivers, datetime.now(UTC).date())
    except ConfigurationError:
        return []  # Of a wrong type: deploytools.E002 says so.
    return [
        Error(f'DEPLOYTOOLS["WAIVERS"]: {sentence}', hint=f"For example: {EXAMPLE}", id="deploytools.E004")
        for sentence in found
    ]
