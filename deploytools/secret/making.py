"""Values that can be made here, instead of being copied from somewhere. Pure: the randomness comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from deploytools.secret.contract import Field
from deploytools.secret.document import Document

#: Letters and digits: what URLs, shells, JSON and libpq's connection strings all leave as it is.
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

#: Characters of what is made, by `Field.made_by`: some 238 and 381 bits.
LENGTHS = {"password": 40, "django_secret_key": 64}

#: Picks one character, for example `secrets.choice`.
Pick = Callable[[str], str]


def makeable(fields: Iterable[Field]) -> tuple[str, ...]:
    """The keys whose values can be made here."""
    return tuple(field.name for field in fields if field.made_by)


def make(fields: Iterable[Field], pick: Pick, *, only: Iterable[str] | None = None) -> Document:
    """A new value for each key that can be made here.

    Args:
        pick: the randomness.
        only: these keys alone.
    """
    wanted = None if only is None else set(only)
    made = {
        field.name: _one(field, pick) for field in fields if field.made_by and (wanted is None or field.name in wanted)
    }
    return Document(made)


def _one(field: Field, pick: Pick) -> Any:
    """A value that keeps the field's own rule; the very few that do not are thrown away."""
    while True:
        value = "".join(pick(ALPHABET) for _ in range(LENGTHS[field.made_by]))
        if field.rule(value) is None:
            return value
