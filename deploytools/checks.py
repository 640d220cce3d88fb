"""Django system checks of ``settings.DEPLOYTOOLS``.

- ``deploytools.E001``: an unknown setting, or not a dict
- ``deploytools.E002``: a value of the wrong type, or outside its choices or range
- ``deploytools.E003``: an invalid tenant name or tenant option
- ``deploytools.E004``: an invalid waiver
- ``deploytools.E005``: an invalid AWS account ID
- ``deploytools.E006``: an invalid row of ``SECRET_FIELDS``
- ``deploytools.E007``: a required setting is not set
- ``deploytools.E008``: the database of a tenant in another alias than ``default``

They import neither boto3 nor psycopg, because Django runs them at every start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from deploytools.conf import ALWAYS, SETTINGS, is_valid
from deploytools.secrets.custom_fields import violations as field_violations
from deploytools.tenants.options import alias_violations, name_violations, option_violations, tenant_name
from deploytools.verification.waivers import EXAMPLE
from deploytools.verification.waivers import violations as waiver_violations


def check_settings(**_: object) -> list[CheckMessage]:
    """Check the names, types and values of the settings, including tenants, waivers and the host's own keys."""
    given = getattr(settings, "DEPLOYTOOLS", {})
    if not isinstance(given, dict):
        return [
            Error(
                "DEPLOYTOOLS is not a dict.",
                hint='Write: DEPLOYTOOLS = {"TENANTS": ["shop_one"]}',
                id="deploytools.E001",
            )
        ]
    named = [message for key, value in given.items() for message in _violations(key, value)]
    return [*named, *_missing(given), *_parsed(given)]


def _missing(given: Mapping[str, object]) -> list[CheckMessage]:
    name = given.get("SECRET_NAME")
    required = {"SECRET_NAME": ("prod/shop", not name)}
    if given.get("ISOLATION") == "role-per-tenant":
        default = "" if str(name).startswith("arn:") else f"{name}/tenant/"
        required["TENANT_SECRET_PREFIX"] = ("prod/shop/tenant/", not given.get("TENANT_SECRET_PREFIX", default))
    return [
        Error(
            f'DEPLOYTOOLS["{key}"] is not set.',
            hint=f'Set it, for example: DEPLOYTOOLS = {{"{key}": "{example}"}}',
            id="deploytools.E007",
        )
        for key, (example, is_missing) in required.items()
        if is_missing
    ]


def _violations(key: str, value: object) -> list[CheckMessage]:
    if key not in SETTINGS:
        hint = f"The settings are: {', '.join(SETTINGS)}."
        return [Error(f'Unknown setting DEPLOYTOOLS["{key}"].', hint=hint, id="deploytools.E001")]
    if not is_valid(key, value):
        return [
            Error(f'DEPLOYTOOLS["{key}"] has an invalid value: {value!r}.', hint=_expected(key), id="deploytools.E002")
        ]
    if key in RULES:
        is_ok, problem, hint, check_id = RULES[key]
        return [] if is_ok(value) else [Error(f'DEPLOYTOOLS["{key}"] {problem}: {value!r}.', hint=hint, id=check_id)]
    return []


def _expected(key: str) -> str:
    types, choices = SETTINGS[key].metadata["types"], SETTINGS[key].metadata["choices"]
    if choices:
        return f"Set it to {'a list of' if list in types else 'one of'}: {', '.join(choices)}."
    return f"Set it to a value of type {' or '.join(kind.__name__ for kind in types)}."


#: Rules beyond the type: whether a value keeps it, what is wrong if not, the hint, the id of the check.
RULES: Mapping[str, tuple[Callable[[Any], bool], str, str, str]] = {
    "ACCOUNT": (
        lambda value: not value or bool(re.fullmatch(r"[0-9]{12}", value)),
        "is not a 12-digit AWS account ID",
        "Run: aws sts get-caller-identity --query Account --output text",
        "deploytools.E005",
    ),
    "PORT": (
        lambda value: value in ("", None) or (str(value).isdecimal() and 0 < int(value) < 65536),
        "is not a port",
        "Set it to a number from 1 to 65535.",
        "deploytools.E002",
    ),
}


def _parsed(given: Mapping[str, Any]) -> list[CheckMessage]:
    """Check the rows of the settings that have rows. `_violations` reports a setting of the wrong type."""
    rows = {key: given[key] for key in given if key in SETTINGS and is_valid(key, given[key])}
    presets = (*ALWAYS, *rows.get("PRESETS", ()))
    waivers = waiver_violations(rows.get("WAIVERS", ()), datetime.now(UTC).date())
    found = {
        "deploytools.E003": [
            *name_violations(rows.get("TENANTS", ()), has_roles=rows.get("ISOLATION") == "role-per-tenant"),
            *option_violations(rows.get("TENANT_OPTIONS", {}), 'DEPLOYTOOLS["TENANT_OPTIONS"]'),
        ],
        "deploytools.E004": [(f'DEPLOYTOOLS["WAIVERS"]: {item}', f"For example: {EXAMPLE}") for item in waivers],
        "deploytools.E006": field_violations(rows.get("SECRET_FIELDS", {}), presets),
        "deploytools.E008": alias_violations(settings.DATABASES, [*map(tenant_name, rows.get("TENANTS", ()))]),
    }
    return [Error(message, hint=hint, id=id) for id, items in found.items() for message, hint in items]
