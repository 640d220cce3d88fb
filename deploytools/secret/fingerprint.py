"""Fingerprints of values: whether two are the same, without a way to guess them. Pure.

A plain hash of ``587``, of an address or of a word is found by trying. So the hash is keyed, with a key that nobody has
who does not have the secret: it is derived from those of its values that are random by the contract (the database
password, Django's key). Who can compute a fingerprint can read the secret already.

They compare two looks at one secret, for as long as those values stay: a new password or key changes all of them. A
secret without any random value has no fingerprints.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from deploytools.secret.contract import Field, is_placeholder
from deploytools.secret.rules import PASSWORD_LENGTH
from deploytools.secret.value import Secret

#: Hexadecimal digits shown: enough to tell values apart, too few to prove a guess even with the key.
DIGITS = 8


def fingerprints(name: str, document: Mapping[str, Secret[Any]], fields: Sequence[Field]) -> dict[str, str]:
    """A fingerprint of each value; nothing where `document` holds no random value to derive a key from.

    Args:
        name: of the secret: equal values in two secrets do not look equal.
    """
    key = _key(name, document, fields)
    if key is None:
        return {}
    return {
        member: hmac.digest(key, _canonical([member, secret.reveal()]), hashlib.sha256).hex()[:DIGITS]
        for member, secret in document.items()
    }


def _key(name: str, document: Mapping[str, Secret[Any]], fields: Sequence[Field]) -> bytes | None:
    random = {
        field.name: value
        for field in fields
        if field.made_by and field.name in document and _is_random(field, value := document[field.name].reveal())
    }
    return hmac.digest(_canonical(random), b"deploytools fingerprint " + name.encode(), "sha256") if random else None


def _is_random(field: Field, value: Any) -> bool:
    """Whether `value` can be one that was made at random: a host's own row may accept any text."""
    is_long = isinstance(value, str) and len(value) >= PASSWORD_LENGTH
    return is_long and not is_placeholder(value, field) and field.rule(value) is None


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
