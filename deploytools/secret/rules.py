"""How a value is judged: small rules that say how a value breaks them, and say the same as JSON Schema. Pure.

No sentence quotes the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

PASSWORD_LENGTH = 32
SECRET_KEY_LENGTH = 50
SECRET_KEY_UNIQUE = 5

#: From 1 to 65535, for editors: digits in a string are accepted as well as a number.
_PORT = "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


class Rule(Protocol):
    """Judges one value that is present and no placeholder."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """The rule as JSON Schema, as far as that can say it."""

    def __call__(self, value: Any) -> str | None:
        """The sentence of how `value` breaks the rule, or None."""


@dataclass(frozen=True)
class Text:
    """Any text without space at its ends."""

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "pattern": r"^\S([\s\S]*\S)?$"}

    def __call__(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return "must be a text"
        if not value:
            return "is empty"
        if value != value.strip():
            return "begins or ends with a space or a line break"
        return None


@dataclass(frozen=True)
class Matches:
    """A text of a known form.

    Attributes:
        pattern: a regular expression that the whole text has to match.
        sentence: what is said of one that does not.
    """

    pattern: str
    sentence: str

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "pattern": f"^({self.pattern})$"}

    def __call__(self, value: Any) -> str | None:
        return Text()(value) or (None if re.fullmatch(self.pattern, value) else self.sentence)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


@dataclass(frozen=True)
class Port:
    """A TCP port, as a number or as digits."""

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": ["integer", "string"], "minimum": 1, "maximum": 65_535, "pattern": f"^{_PORT}$"}

    def __call__(self, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | str) or not _is_digits(str(value)):
            return "must be a number"
        return None if len(str(value)) < 9 and 0 < int(value) < 65_536 else "must be from 1 to 65535"


@dataclass(frozen=True)
class Password:
    """A database password that RDS takes and nobody guesses."""

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "minLength": PASSWORD_LENGTH, "pattern": r'^[^/"@\s]+$'}

    def __call__(self, value: Any) -> str | None:
        if problem := Text()(value):
            return problem
        if len(value) < PASSWORD_LENGTH:
            return f"has {len(value)} characters; {PASSWORD_LENGTH} or more are needed"
        if len(set(value)) < 8:
            return "repeats the same few characters"
        if set(value) & set('/"@ ') or not value.isprintable():
            return 'holds one of / " @ or a space, which RDS does not take'
        return None


@dataclass(frozen=True)
class DjangoSecretKey:
    """What ``check --deploy`` asks of SECRET_KEY."""

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "minLength": SECRET_KEY_LENGTH, "pattern": r"^(?!django-insecure-)\S([\s\S]*\S)?$"}

    def __call__(self, value: Any) -> str | None:
        if problem := Text()(value):
            return problem
        if len(value) < SECRET_KEY_LENGTH:
            return f"has {len(value)} characters; {SECRET_KEY_LENGTH} or more are needed"
        if len(set(value)) < SECRET_KEY_UNIQUE:
            return f"has fewer than {SECRET_KEY_UNIQUE} different characters"
        return "is one that startproject made (django-insecure-…)" if value.startswith("django-insecure-") else None
