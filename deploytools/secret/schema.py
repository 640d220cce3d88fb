"""The contract as a JSON Schema, so that an editor checks the file while it is typed. Pure.

It says what JSON Schema can say: types, lengths, patterns, placeholders. What judges two keys together, or the stage,
is said by ``--validate``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deploytools.secret.contract import EXAMPLE_DOMAIN, PLACEHOLDER, Field

#: The member of a file that tells an editor where its schema is; it belongs to the file, not to the secret.
SCHEMA = "$schema"

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(fields: Sequence[Field]) -> dict[str, Any]:
    """A JSON Schema of a file for `sync_secrets`: any part of the secret, and keys that nobody here knows."""
    return {
        SCHEMA: DIALECT,
        "title": "Values for sync_secrets",
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "additionalProperties": True,
        "$defs": {"placeholder": {"type": "string", "pattern": "|".join(map(any_case, (PLACEHOLDER, EXAMPLE_DOMAIN)))}},
    }


def _property(field: Field) -> Mapping[str, Any]:
    refused: Mapping[str, Any] = {"$ref": "#/$defs/placeholder"}
    if field.placeholder:
        refused = {"anyOf": [refused, _whole(field.placeholder)]}
    accepted = {**field.rule.schema, "not": refused}
    if field.stand_in:
        accepted = {"anyOf": [accepted, _whole(field.stand_in)]}
    return {"description": field.shape, **accepted}


def _whole(pattern: str) -> Mapping[str, Any]:
    return {"type": "string", "pattern": f"^({pattern})$"}


def any_case(pattern: re.Pattern[str]) -> str:
    """`pattern` for a dialect of regular expressions that has no flag for case: each letter in both."""
    return re.sub("[A-Za-z]", lambda found: f"[{found[0].upper()}{found[0].lower()}]", pattern.pattern)
