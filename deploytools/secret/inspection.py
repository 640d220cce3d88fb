"""What `sync_secrets --show` tells of a secret, and what a file to fill in holds; never a value. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from deploytools.secret.contract import (
    OWN_SHAPE,
    TO_REPLACE,
    Field,
    Problem,
    by_name,
    is_placeholder,
    missing,
    problems,
)
from deploytools.secret.fingerprint import fingerprints
from deploytools.secret.making import ALPHABET, LENGTHS
from deploytools.secret.sync import SecretState
from deploytools.secret.value import Secret


class KeyState(StrEnum):
    """What a key's value is."""

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
        length: characters of the value, or of its JSON; 0 where there is none.
        fingerprint: see `deploytools.secret.fingerprint`; empty where there is none.
        is_known: whether a row of the contract knows it.
    """

    key: str
    state: KeyState
    length: int = 0
    fingerprint: str = ""
    is_known: bool = True


@dataclass(frozen=True)
class Inspection:
    """The whole secret.

    Attributes:
        keys: those of the contract and of the consumer first, in the contract's order, then those nobody knows.
        missing: what the consumer requires and is not there.
        problems: the rules that are broken.
    """

    state: SecretState
    keys: tuple[KeyReport, ...]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


def inspect(state: SecretState, *, stage: str, required: Collection[str], fields: Sequence[Field]) -> Inspection:
    """What there is to tell of `state`."""
    rows, document = by_name(fields), state.document
    lacking = missing(document, required, stage=stage, fields=fields)
    prints = fingerprints(state.name, document, fields)
    known = [key for key in dict.fromkeys([*rows, *required]) if key in document or key in lacking]
    keys = [
        KeyReport(
            key,
            key_state(rows.get(key), document.get(key)),
            _length(document[key].reveal()) if key in document else 0,
            prints.get(key, ""),
            key in rows,
        )
        for key in dict.fromkeys([*known, *document])
    ]
    return Inspection(state, tuple(keys), lacking, problems(document, stage=stage, fields=fields))


def key_state(field: Field | None, secret: Secret[Any] | None) -> KeyState:
    """What one value is, as far as it shows."""
    value = None if secret is None else secret.reveal()
    if value in ("", None):
        return KeyState.MISSING
    if is_placeholder(value, field):
        return KeyState.PLACEHOLDER
    if field and field.made_by and re.fullmatch(f"[{ALPHABET}]{{{LENGTHS[field.made_by]}}}", str(value)):
        return KeyState.GENERATED
    if field and field.name.startswith("stripe_") and (mode := re.match("(sk|rk|pk)_(live|test)_", str(value))):
        return KeyState.TEST_MODE if mode[2] == "test" else KeyState.LIVE_MODE
    return KeyState.SET


def template(
    document: Mapping[str, Secret[Any]], *, stage: str, required: Collection[str], fields: Sequence[Field]
) -> dict[str, str]:
    """A document to fill in: the keys that are missing or hold a placeholder, each with what a good value looks like.

    What it holds is refused until it is replaced. What only stands in is left out as long as the stage allows it.
    """
    rows = by_name(fields)
    warned = {item.key for item in problems(document, stage=stage, fields=fields) if item.is_warning}
    vacant = [
        key
        for key in rows
        if key in document and key not in warned and key_state(rows[key], document[key]) is KeyState.PLACEHOLDER
    ]
    wanted = {*vacant, *missing(document, required, stage=stage, fields=fields)}
    return {
        key: f"{TO_REPLACE}{rows[key].shape if key in rows else OWN_SHAPE}"
        for key in dict.fromkeys([*rows, *required])
        if key in wanted
    }


def _length(value: Any) -> int:
    return len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
