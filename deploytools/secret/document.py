"""The secret as one JSON object: read strictly, merged, compared, never shown. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any, NoReturn

from deploytools.errors import SecretNotJson, SecretTooLarge
from deploytools.secret.value import Secret

#: Secrets Manager's limit for ``SecretString``, in bytes of UTF-8.
MAXIMUM_BYTES = 65_536

HINT = "It must be one JSON object, {…}, in UTF-8."


class Document(Mapping[str, Secret[Any]]):
    """One JSON object whose values are masked. Keys keep their order, values their types.

    Args:
        values: the object's members, as `json.loads` returns them.
    """

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
        raise TypeError("A Document is not pickled: it would be written down in clear.")

    def merge(self, given: Mapping[str, Secret[Any]]) -> Document:
        """This document with the members of `given` put over it; everything else stays as it is."""
        return Document(self.__values | {key: secret.reveal() for key, secret in given.items()})

    def without(self, keys: Collection[str]) -> Document:
        """This document without the members of these keys."""
        return Document({key: value for key, value in self.__values.items() if key not in keys})

    def to_json(self) -> Secret[str]:
        """The document as Secrets Manager stores it.

        Raises:
            SecretNotJson: a value cannot be written as UTF-8 text.
            SecretTooLarge: it has more than `MAXIMUM_BYTES` bytes.
        """
        text = Secret(_written(self.__values))
        size = _size(text)
        if size is None:
            broken = [key for key, value in self.__values.items() if _size(Secret(_written({key: value}))) is None]
            raise SecretNotJson(
                f"{', '.join(map(_printable, broken))} cannot be stored as UTF-8 text.",
                hint="Give it as UTF-8: half of a surrogate pair, or bytes of another encoding, are no text.",
            )
        if size > MAXIMUM_BYTES:
            raise SecretTooLarge(
                f"The document has {size:,} bytes; Secrets Manager takes {MAXIMUM_BYTES:,}.",
                hint="Move large values, such as certificates, into a secret of their own.",
            )
        return text


def _written(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _size(text: Secret[str]) -> int | None:
    """Bytes of `text` in UTF-8; None where that cannot be. The error ends here: it holds the whole text."""
    try:
        return len(text.reveal().encode())
    except UnicodeEncodeError:
        return None


def _printable(key: str) -> str:
    return key.encode(errors="backslashreplace").decode()


def parse(text: Secret[str], *, source: str) -> Document:
    """The document that `text` holds.

    Args:
        text: JSON.
        source: what is being read, for the error: a file's name, a secret's.

    Raises:
        SecretNotJson: it is not one JSON object, names a key twice, or holds what cannot be written again, such as NaN
            or a number with more digits than are kept. Quotes nothing of it.
    """
    found = _read(text)
    if isinstance(found, Document):
        return found
    sentence, hint = found
    raise SecretNotJson(f"{source} {sentence}.", hint=hint)


def _read(text: Secret[str]) -> Document | tuple[str, str]:
    """The document, or why there is none and what to do.

    The errors of reading end here: they hold the whole text, and ``raise … from None`` would still carry them along.
    """
    try:
        values = json.loads(text.reveal(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_exact)
        _written(values).encode()
    except json.JSONDecodeError as error:
        return f"is not JSON: it breaks off at line {error.lineno}, column {error.colno}", HINT
    except (UnicodeEncodeError, RecursionError):
        return "is JSON that cannot be stored as UTF-8 text", HINT
    except _DuplicateKey as error:
        return f'names the key "{error}" twice', "Keep the one that is meant: JSON readers differ on it."
    except _NotFinite as error:
        return f"holds {error}, which is no JSON value", HINT
    except (_NotExact, ArithmeticError):
        return "holds a number that cannot be kept exactly", "Write it with fewer digits, or as a text: in quotes."
    except ValueError:
        return "holds a number that is too large to be kept", HINT
    return Document(values) if isinstance(values, dict) else ("is JSON, but not an object", HINT)


class _DuplicateKey(Exception):
    pass


class _NotFinite(Exception):
    pass


class _NotExact(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKey(next(key for key in keys if keys.count(key) > 1))
    return values


def _exact(text: str) -> float:
    """The number that `text` is, if it is still the same when it is written again; what is too large is seen later."""
    number = float(text)
    if isfinite(number) and Decimal(repr(number)) != Decimal(text):
        raise _NotExact
    return number


def _no_constant(name: str) -> NoReturn:
    raise _NotFinite(name)


class ChangeKind(StrEnum):
    """What happens to a key."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """What happens to one key; never its value.

    Attributes:
        key: the key's name.
        kind: `ChangeKind.UNCHANGED` was given and is equal, `ChangeKind.KEPT` was not given.
    """

    key: str
    kind: ChangeKind


def diff(before: Document, after: Document, given: Mapping[str, object]) -> tuple[Change, ...]:
    """One `Change` for each key of `after`, in its order, then one for each that is in `before` only."""

    def kind(key: str) -> ChangeKind:
        if key not in before:
            return ChangeKind.ADDED
        if before[key] != after[key]:
            return ChangeKind.CHANGED
        return ChangeKind.UNCHANGED if key in given else ChangeKind.KEPT

    kept = tuple(Change(key, kind(key)) for key in after)
    return kept + tuple(Change(key, ChangeKind.REMOVED) for key in before if key not in after)
