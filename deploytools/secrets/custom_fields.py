"""The host project's own keys of the secret: ``DEPLOYTOOLS["SECRET_FIELDS"]`` as fields of the contract.

Django validators check their values::

    "SECRET_FIELDS": {
        "sentry_dsn": {"validators": [URLValidator()], "expected": "https://…@sentry.io/1", "required_from": "launch"},
        "session_salt": {"generator": "password"},
    }
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from deploytools.secrets.contract import CUSTOM_EXPECTED, STAGES, Field, Rule, preset_fields, text
from deploytools.secrets.inputs import GENERATED_LENGTHS

#: The options of a field, with their types.
OPTIONS: Mapping[str, tuple[type, ...]] = {
    "validators": (list, tuple),
    "expected": (str,),
    "sensitive": (bool,),
    "number": (bool,),
    "required_from": (str,),
    "generator": (str,),
    "placeholder": (str,),
    "temporary_value": (str,),
}
CHOICES = {"required_from": ("", *STAGES), "generator": ("", *GENERATED_LENGTHS)}


def validated(validators: Sequence[Callable[[Any], object]], *, is_number: bool) -> Rule:
    """Return the rule that Django validators accept the value.

    Args:
        is_number: whether the value must be a number; otherwise it is any JSON value except an empty string.
    """

    def rule(value: Any) -> str | None:
        if isinstance(value, str) and (problem := text(value)):
            return problem
        if is_number and (isinstance(value, bool) or not isinstance(value, int | float)):
            return "must be a number"
        return next((problem for validator in validators if (problem := _validate(validator, value))), None)

    return rule


def _validate(validator: Callable[[Any], object], value: Any) -> str | None:
    """Return the validator's message, unless it contains the value."""
    from django.core.exceptions import ValidationError

    name = getattr(validator, "__name__", type(validator).__name__)
    try:
        validator(value)
    except ValidationError as error:
        message = "; ".join(error.messages)
        return f"was rejected by {name}" if str(value) in message else f"was rejected by {name}: {message}"
    except Exception as error:
        return f"was rejected by {name} ({type(error).__name__})"
    return None


def all_fields(presets: Iterable[str], rows: Mapping[str, Mapping[str, Any]]) -> tuple[Field, ...]:
    """Return the fields of ``DEPLOYTOOLS["PRESETS"]``, followed by those of ``DEPLOYTOOLS["SECRET_FIELDS"]``."""
    return (*preset_fields(presets), *custom_fields(rows))


def custom_fields(rows: Mapping[str, Mapping[str, Any]]) -> tuple[Field, ...]:
    """Return the fields of ``DEPLOYTOOLS["SECRET_FIELDS"]``."""
    return tuple(_field(name, row) for name, row in rows.items())


def _field(name: str, row: Mapping[str, Any]) -> Field:
    is_number = row.get("number", False)
    return Field(
        name=name,
        rule=validated(row.get("validators", ()), is_number=is_number),
        expected=row.get("expected") or ("a number" if is_number else CUSTOM_EXPECTED),
        is_sensitive=row.get("sensitive", True),
        is_number=is_number,
        required_from=row.get("required_from", ""),
        generator=row.get("generator", ""),
        placeholder=row.get("placeholder", ""),
        temporary_value=row.get("temporary_value", ""),
    )


def violations(rows: Mapping[Any, Any], presets: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield a message and a hint for each error in ``DEPLOYTOOLS["SECRET_FIELDS"]``."""
    owners = {field.name: preset for preset in presets for field in preset_fields([preset])}
    for name, row in rows.items():
        where = f'DEPLOYTOOLS["SECRET_FIELDS"][{name!r}]'
        if not isinstance(name, str) or not name:
            yield f"{where} is not the name of a key.", "Use a non-empty string."
        elif name in owners:
            yield f"{where} is a key of the preset {owners[name]}.", "Remove it, or rename it."
        elif not isinstance(row, dict):
            yield f"{where} is not a dict.", f"Its options are: {', '.join(OPTIONS)}."
        else:
            yield from _row_violations(where, row)


def _row_violations(where: str, row: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for option, value in row.items():
        if option not in OPTIONS:
            yield f"{where} has an unknown option {option!r}.", f"Its options are: {', '.join(OPTIONS)}."
        elif type(value) not in OPTIONS[option]:
            types = " or ".join(kind.__name__ for kind in OPTIONS[option])
            yield f"{where}[{option!r}] has the type {type(value).__name__}.", f"It must be: {types}."
        elif option in CHOICES and value not in CHOICES[option]:
            yield (
                f"{where}[{option!r}] is {value!r}.",
                f"It must be one of: {', '.join(filter(None, CHOICES[option]))}.",
            )
        elif option == "validators" and not all(callable(item) for item in value):
            yield f"{where}[{option!r}] contains an object that is not callable.", "Use django.core.validators."
        elif option in {"placeholder", "temporary_value"} and not _compiles(value):
            yield f"{where}[{option!r}] is not a regular expression.", "It must match the whole value."
    if row.get("number") and row.get("generator"):
        yield f"{where} has both number and generator.", "Remove one of them: generated values are strings."


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
