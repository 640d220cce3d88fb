"""A host's own keys of the secret: ``DEPLOYTOOLS["SECRET_FIELDS"]`` as rows of the contract.

Their values are judged by Django's validators::

    "SECRET_FIELDS": {
        "sentry_dsn": {"validators": [URLValidator()], "shape": "https://…@sentry.io/1", "required_from": "launch"},
        "session_salt": {"made_by": "password"},
    }
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploytools.conf import configuration
from deploytools.secret.contract import FIELDS, STAGES, Field, by_name
from deploytools.secret.making import LENGTHS
from deploytools.secret.rules import Text

#: What a row may say, and of which type.
VOCABULARY: Mapping[str, tuple[type, ...]] = {
    "validators": (list, tuple),
    "shape": (str,),
    "sensitive": (bool,),
    "number": (bool,),
    "required_from": (str,),
    "made_by": (str,),
    "placeholder": (str,),
    "stand_in": (str,),
}
CHOICES = {"required_from": ("", *STAGES), "made_by": ("", *LENGTHS)}


@dataclass(frozen=True)
class Validated:
    """A value that Django validators accept.

    Attributes:
        validators: callables that raise Django's ``ValidationError``.
        is_number: whether a number is meant; otherwise any JSON value but an empty text.
    """

    validators: tuple[Callable[[Any], object], ...]
    is_number: bool = False

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": ["number", "string"]} if self.is_number else {}

    def __call__(self, value: Any) -> str | None:
        if isinstance(value, str) and (problem := Text()(value)):
            return problem
        if self.is_number and (isinstance(value, bool) or not isinstance(value, int | float)):
            return "must be a number"
        return next((problem for validator in self.validators if (problem := _refusal(validator, value))), None)


def _refusal(validator: Callable[[Any], object], value: Any) -> str | None:
    """What `validator` says of `value`, without quoting it."""
    from django.core.exceptions import ValidationError

    name = getattr(validator, "__name__", type(validator).__name__)
    try:
        validator(value)
    except ValidationError as error:
        said = "; ".join(error.messages)
        return f"is refused by {name}" if str(value) in said else f"is refused by {name}: {said}"
    except Exception as error:
        return f"is refused by {name} ({type(error).__name__})"
    return None


def contract() -> tuple[Field, ...]:
    """The rows of the contract and the host's own after them."""
    return (*FIELDS, *(_field(name, row) for name, row in configuration.secret_fields.items()))


def _field(name: str, row: Mapping[str, Any]) -> Field:
    is_number = row.get("number", False)
    return Field(
        name=name,
        rule=Validated(tuple(row.get("validators", ())), is_number),
        shape=row.get("shape") or ("a number" if is_number else "a value of the host's own"),
        is_sensitive=row.get("sensitive", True),
        is_number=is_number,
        required_from=row.get("required_from", ""),
        made_by=row.get("made_by", ""),
        placeholder=row.get("placeholder", ""),
        stand_in=row.get("stand_in", ""),
    )


def violations(rows: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with ``SECRET_FIELDS``, and what would be right."""
    known = by_name(FIELDS)
    for name, row in rows.items():
        where = f'DEPLOYTOOLS["SECRET_FIELDS"][{name!r}]'
        if not isinstance(name, str) or not name or name in known:
            yield f"{where} is no key of your own.", "A key is a text that the contract does not have already."
        elif not isinstance(row, dict):
            yield f"{where} is not a dict.", f"It may say: {', '.join(VOCABULARY)}."
        else:
            yield from _row_violations(where, row)


def _row_violations(where: str, row: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for word, value in row.items():
        if word not in VOCABULARY:
            yield f"{where} says {word!r}, which nobody reads.", f"It may say: {', '.join(VOCABULARY)}."
        elif type(value) not in VOCABULARY[word]:
            wanted = " or ".join(kind.__name__ for kind in VOCABULARY[word])
            yield f"{where}[{word!r}] is of type {type(value).__name__}.", f"It must be: {wanted}."
        elif word in CHOICES and value not in CHOICES[word]:
            yield f"{where}[{word!r}] is {value!r}.", f"It must be one of: {', '.join(filter(None, CHOICES[word]))}."
        elif word == "validators" and not all(callable(item) for item in value):
            yield f"{where}[{word!r}] holds what cannot be called.", "Name validators: django.core.validators."
        elif word in {"placeholder", "stand_in"} and not _compiles(value):
            yield f"{where}[{word!r}] is no regular expression.", "It has to match the whole text."
    if row.get("number") and row.get("made_by"):
        yield f"{where} is a number and made here.", "Only texts are made here."


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
