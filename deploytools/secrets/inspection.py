"""The state of each key for ``sync_secrets --show``, and the document of ``--template``. Neither contains values. Pure.

A fingerprint shows whether two values are equal. A plain hash of a port or an address could be found by trying all
values, so the fingerprint is an HMAC. Its key is derived from the secret's random values (the database password,
Django's secret key): to compute a fingerprint, one must be able to read the secret. Therefore all fingerprints change
when one of these values changes, and a secret without any random value has no fingerprints.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deploytools.secrets.contract import (
    PASSWORD_LENGTH,
    STRIPE,
    TO_REPLACE,
    Field,
    Problem,
    by_name,
    find_missing,
    find_problems,
    is_placeholder,
)
from deploytools.secrets.document import Document, Secret
from deploytools.secrets.inputs import ALPHABET, GENERATED_LENGTHS
from deploytools.secrets.plan import SecretState

#: Hexadecimal digits of a fingerprint: enough to distinguish values, too few to confirm a guess.
FINGERPRINT_DIGITS = 8


class KeyState(StrEnum):
    """The state of a key's value."""

    SET = "set"
    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    GENERATED = "generated"
    TEST_MODE = "test mode"
    LIVE_MODE = "live mode"


@dataclass(frozen=True)
class KeyReport:
    """One key.

    Attributes:
        length: characters of the value, or of its JSON; 0 if it is missing.
        fingerprint: empty if there is none.
        is_recognized: whether the contract has a field for it.
    """

    key: str
    state: KeyState
    length: int = 0
    fingerprint: str = ""
    is_recognized: bool = True


@dataclass(frozen=True)
class Inspection:
    """The whole secret.

    Attributes:
        keys: the keys of the contract, in its order, then the unrecognized ones.
    """

    state: SecretState
    keys: tuple[KeyReport, ...]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


def inspect(state: SecretState, *, stage: str, fields: Sequence[Field]) -> Inspection:
    """Inspect each key of a secret."""
    known, document = by_name(fields), state.document
    missing = find_missing(document, stage=stage, fields=fields)
    prints = fingerprints(state.name, document, fields)
    listed = [key for key in known if key in document or key in missing]
    keys = [report_key(key, known.get(key), document, prints) for key in dict.fromkeys([*listed, *document])]
    return Inspection(state, tuple(keys), missing, find_problems(document, stage=stage, fields=fields))


def report_key(key: str, field: Field | None, document: Document, prints: Mapping[str, str]) -> KeyReport:
    """Inspect one key of `document`, which has the fingerprints `prints`."""
    length = _length(document[key].reveal()) if key in document else 0
    return KeyReport(key, key_state(field, document.get(key)), length, prints.get(key, ""), field is not None)


def key_state(field: Field | None, secret: Secret[Any] | None) -> KeyState:
    """Return the state of one value."""
    value = None if secret is None else secret.reveal()
    if value in ("", None):
        return KeyState.MISSING
    if is_placeholder(value, field):
        return KeyState.PLACEHOLDER
    if field and field.generator and re.fullmatch(f"[{ALPHABET}]{{{GENERATED_LENGTHS[field.generator]}}}", str(value)):
        return KeyState.GENERATED
    if field in STRIPE and (mode := re.match("(sk|rk|pk)_(live|test)_", str(value))):
        return KeyState.TEST_MODE if mode[2] == "test" else KeyState.LIVE_MODE
    return KeyState.SET


def _length(value: Any) -> int:
    return len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def template(document: Mapping[str, Secret[Any]], *, stage: str, fields: Sequence[Field]) -> dict[str, str]:
    """Return a document to fill in: keys that are missing or a placeholder, with a description of a valid value.

    The contract rejects these descriptions as placeholders. Temporary values are left out while the stage allows them.
    """
    known = by_name(fields)
    allowed = {item.key for item in find_problems(document, stage=stage, fields=fields) if item.is_warning}
    placeholders = [
        key
        for key in known
        if key in document and key not in allowed and key_state(known[key], document[key]) is KeyState.PLACEHOLDER
    ]
    wanted = {*placeholders, *find_missing(document, stage=stage, fields=fields)}
    return {key: f"{TO_REPLACE}{field.expected}" for key, field in known.items() if key in wanted}


def fingerprints(name: str, document: Mapping[str, Secret[Any]], fields: Sequence[Field]) -> dict[str, str]:
    """Return the fingerprint of each value, or nothing if `document` has no random value.

    Equal values in two secrets have different fingerprints.
    """
    key = _fingerprint_key(name, document, fields)
    if key is None:
        return {}
    return {
        member: hmac.digest(key, _canonical([member, secret.reveal()]), hashlib.sha256).hex()[:FINGERPRINT_DIGITS]
        for member, secret in document.items()
    }


def _fingerprint_key(name: str, document: Mapping[str, Secret[Any]], fields: Sequence[Field]) -> bytes | None:
    random = {
        field.name: value
        for field in fields
        if field.generator and field.name in document and _is_random(field, value := document[field.name].reveal())
    }
    return hmac.digest(_canonical(random), b"deploytools fingerprint " + name.encode(), "sha256") if random else None


def _is_random(field: Field, value: Any) -> bool:
    """Return whether `value` can be a random one; a custom field's rule alone might accept any string."""
    is_long = isinstance(value, str) and len(value) >= PASSWORD_LENGTH
    return is_long and not is_placeholder(value, field) and field.rule(value) is None


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
