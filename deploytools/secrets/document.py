"""The content of a secret: one JSON object whose values are masked. Parsing, merging and comparing it. Pure."""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, Inexact
from enum import StrEnum
from math import isfinite
from typing import Any, Generic, NoReturn, TypeVar

from deploytools.errors import SecretNotJson, SecretTooLarge
from deploytools.wording import printable

Value = TypeVar("Value")

MASK = "********"

#: Maximum size of ``SecretString`` in AWS Secrets Manager, in bytes of UTF-8.
MAXIMUM_BYTES = 65_536

#: A byte order mark. Editors on Windows write it at the beginning of UTF-8 files.
BOM = "\ufeff"

HINT = "It must be one JSON object, {…}, encoded as UTF-8."


class Secret(Generic[Value]):
    """A credential that is masked in ``repr``, ``str`` and formatting, and cannot be pickled.

    Args:
        value: the credential, for example a password or a port number.
    """

    __slots__ = ("__value",)

    def __init__(self, value: Value) -> None:
        self.__value = value

    def reveal(self) -> Value:
        """Return the value itself."""
        return self.__value

    def __repr__(self) -> str:
        return f"<Secret {MASK}>"

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return format(MASK, specification)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_canonical(self.__value), _canonical(other.reveal()))

    def __hash__(self) -> int:
        return hash(_canonical(self.__value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret cannot be pickled: the pickle would contain it in plain text.")


def _canonical(value: object) -> bytes:
    """Return the same bytes for JSON values of equal type and value, regardless of the order of an object's members."""
    return json.dumps(value, sort_keys=True, default=repr).encode()


class Document(Mapping[str, Secret[Any]]):
    """A JSON object whose values are masked. Keys keep their order, values their types."""

    __slots__ = ("__values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__values = dict(values)

    def __getitem__(self, key: str) -> Secret[Any]:
        return Secret(self.__values[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.__values)

    def __len__(self) -> int:
        return len(self.__values)

    def __repr__(self) -> str:
        return f"<Document: {', '.join(self.__values)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Document cannot be pickled: the pickle would contain its values in plain text.")

    def merge(self, given: Mapping[str, Secret[Any]]) -> Document:
        """Return this document with the members of `given` added or replaced."""
        return Document(self.__values | {key: secret.reveal() for key, secret in given.items()})

    def without(self, keys: Collection[str]) -> Document:
        """Return this document without the members of `keys`."""
        return Document({key: value for key, value in self.__values.items() if key not in keys})

    def to_json(self) -> Secret[str]:
        """Return the JSON text that Secrets Manager stores.

        Raises:
            SecretNotJson: a value cannot be encoded as UTF-8.
            SecretTooLarge: the text is longer than `MAXIMUM_BYTES`.
        """
        text = Secret(_dump(self.__values))
        size = _size(text)
        if size is None:
            invalid = [key for key, value in self.__values.items() if _size(Secret(_dump({key: value}))) is None]
            raise SecretNotJson(
                f"{printable(*invalid)} cannot be encoded as UTF-8.",
                hint="Encode the value as UTF-8: it contains a lone surrogate, or bytes of another encoding.",
            )
        if size > MAXIMUM_BYTES:
            raise SecretTooLarge(
                f"The document has {size:,} bytes; the maximum in Secrets Manager is {MAXIMUM_BYTES:,}.",
                hint="Move large values, such as certificates, to a separate secret.",
            )
        return text


#: A document without any key.
EMPTY = Document({})


def value_of(document: Mapping[str, Secret[Any]], key: str, default: Any = None) -> Any:
    """Return the value of `key`, unmasked, or `default` if `document` does not have the key."""
    return document[key].reveal() if key in document else default


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _size(text: Secret[str]) -> int | None:
    """Return the bytes of `text` in UTF-8, or None. The error is not passed on: it contains the whole text."""
    try:
        return len(text.reveal().encode())
    except UnicodeEncodeError:
        return None


def parse(text: Secret[str], *, source: str) -> Document:
    """Parse `text` as a document.

    Args:
        source: what is parsed, for the error: the name of a file or of a secret.

    Raises:
        SecretNotJson: it is not one JSON object, contains a key twice, or contains a value that cannot be written back
            unchanged, such as NaN or a number with too many digits. The message contains nothing of the text.
    """
    parsed = _parse(text)
    if isinstance(parsed, Document):
        return parsed
    message, hint = parsed
    raise SecretNotJson(f"{source} {message}.", hint=hint)


def _parse(text: Secret[str]) -> Document | tuple[str, str]:
    """Return the document, or a message and a hint.

    Parser errors are not passed on: they contain the whole text, and ``raise … from None`` would keep them as context.
    """
    try:
        values = json.loads(
            text.reveal().removeprefix(BOM), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_exact
        )
        _dump(values).encode()
    except json.JSONDecodeError as error:
        return f"is not valid JSON (line {error.lineno}, column {error.colno})", HINT
    except UnicodeEncodeError:
        return "is JSON that cannot be encoded as UTF-8", HINT
    except RecursionError:
        return "is nested too deeply", "Remove levels of lists and objects: hundreds are possible, thousands are not."
    except _NotAllowed as error:
        message, hint = error.args
        return message, hint
    except ArithmeticError:
        return "contains a number that cannot be stored exactly", "Use fewer digits, or write it as a string in quotes."
    except ValueError:
        return "contains a number that is too large", "Write it as a string in quotes."
    return Document(values) if isinstance(values, dict) else ("is JSON, but not an object", HINT)


class _NotAllowed(Exception):
    """JSON that Python's parser accepts. The arguments are the message and the hint; they contain no value."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        hint = "Remove one of the two: JSON parsers differ in which one they use."
        raise _NotAllowed(f'contains the key "{printable(repeated)}" twice', hint)
    return values


def _exact(text: str) -> float:
    """Parse a number that is the same when it is written back. `_dump` rejects infinite ones later."""
    number = float(text)
    if isfinite(number) and Decimal(repr(number)) != Decimal(text):
        raise Inexact
    return number


def _no_constant(name: str) -> NoReturn:
    raise _NotAllowed(f"contains {name}, which is not a JSON value", HINT)


class ChangeKind(StrEnum):
    """How a key changes."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Change:
    """How one key changes; without its value."""

    key: str
    kind: ChangeKind


def diff(before: Document, after: Document) -> tuple[Change, ...]:
    """Return a `Change` for each key of `after`, in its order, then one for each key that is only in `before`."""

    def kind(key: str) -> ChangeKind:
        if key not in before:
            return ChangeKind.ADDED
        return ChangeKind.UNCHANGED if before[key] == after[key] else ChangeKind.CHANGED

    kept = tuple(Change(key, kind(key)) for key in after)
    return kept + tuple(Change(key, ChangeKind.REMOVED) for key in before if key not in after)
