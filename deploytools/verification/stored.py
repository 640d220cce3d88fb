"""Facts as JSON and back. Only types that facts are declared to have are written or read; secrets are masked. Pure.

A value is written as itself where JSON has it, else as an object whose member ``$`` names its type. The content of a
secret is not written: what comes back in its place has the right length and refuses to be looked at.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, NoReturn

from deploytools import errors
from deploytools.errors import DeployError
from deploytools.secret.document import Document
from deploytools.secret.value import Secret
from deploytools.verification import facts

COLLECTIONS: Mapping[str, type] = {"tuple": tuple, "frozenset": frozenset, "set": set}
TIMES: Mapping[str, type] = {"datetime": datetime, "date": date}
FACTS = (facts.Value, facts.Denied, facts.Absent, facts.Failed, facts.NotTried)


class Withheld(DeployError):
    """What was asked for is the content of a secret, and the file of facts does not have it."""


def _withhold() -> NoReturn:
    raise Withheld(
        "It takes the content of a secret to judge this; a file of facts holds none.",
        hint="Run it without --replay, where the secret can be read",
    )


class WithheldSecret(Secret[Any]):
    """A secret of which only the length is known."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        super().__init__(None)
        self.length = length

    def reveal(self) -> NoReturn:
        """Raises `Withheld`."""
        _withhold()

    def __bool__(self) -> bool:
        return self.length > 0

    def __eq__(self, other: object) -> bool:
        _withhold()

    def __hash__(self) -> int:
        _withhold()


class WithheldDocument(Document):
    """A document of which only the keys and the lengths of the values are known."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Secret[Any]:
        return WithheldSecret(super().__getitem__(key).reveal())


def known_types(annotations: Iterable[Any]) -> dict[str, type]:
    """The dataclasses, enumerations and errors that `annotations` speak of, also inside one another, by name."""
    found: dict[str, type] = {_name(kind): kind for kind in (*FACTS, *_errors(DeployError))}
    waiting = list(annotations)
    while waiting:
        kind = waiting.pop()
        waiting += typing.get_args(kind)
        if not isinstance(kind, type) or _name(kind) in found or issubclass(kind, Document | Secret):
            continue
        if dataclasses.is_dataclass(kind) or issubclass(kind, Enum):
            found[_name(kind)] = kind
        if dataclasses.is_dataclass(kind):
            waiting += hints(kind).values()
    return found


def hints(annotated: Any) -> dict[str, Any]:
    """The annotations of a class or function; none where one of them has no meaning at run time."""
    try:
        return typing.get_type_hints(annotated)
    except NameError:
        return {}


def _errors(kind: type[DeployError]) -> list[type[DeployError]]:
    found = [kind] if kind.__module__ == errors.__name__ else []
    return found + [inner for subclass in kind.__subclasses__() for inner in _errors(subclass)] + _enums(kind)


def _enums(kind: type) -> list[Any]:
    return [errors.ConnectionFailure] if kind is errors.ConnectionFailed else []


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class Codec:
    """Writes and reads values of the types that it knows.

    Args:
        known: as `known_types` returns them.
    """

    def __init__(self, known: Mapping[str, type]) -> None:
        self.known = known

    def encode(self, value: Any) -> Any:
        """`value` as `json.dumps` takes it.

        Raises:
            TypeError: it is, or holds, something of a type that is not known.
        """
        if isinstance(value, Enum):
            return {"$": self._known_name(value), "value": value.value}
        if value is None or type(value) in {bool, int, float, str}:
            return value
        if isinstance(value, Document):
            return {"$": "Document", "lengths": {key: _length(secret) for key, secret in value.items()}}
        if isinstance(value, Secret):
            return {"$": "Secret", "length": _length(value)}
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, tuple | frozenset | set):
            return {"$": type(value).__name__, "items": self._items(value)}
        if isinstance(value, Mapping):
            return {"$": "dict", "items": [[self.encode(key), self.encode(item)] for key, item in value.items()]}
        if isinstance(value, date | timedelta):
            return _encoded_time(value)
        return self._encoded_object(value)

    def _items(self, values: Iterable[Any]) -> list[Any]:
        encoded = [self.encode(value) for value in values]
        return encoded if isinstance(values, tuple) else sorted(encoded, key=repr)

    def _encoded_object(self, value: Any) -> dict[str, Any]:
        name = self._known_name(value)
        if isinstance(value, DeployError):
            members: dict[str, Any] = {"message": str(value), **vars(value)}
        else:
            members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return {"$": name, **{key: self.encode(member) for key, member in members.items() if key != "__notes__"}}

    def _known_name(self, value: object) -> str:
        name = _name(type(value))
        if name not in self.known:
            raise TypeError(f"{name} is no type that a fact is declared to have.")
        return name

    def decode(self, value: Any) -> Any:
        """What `encode` was given, with the content of secrets withheld.

        Raises:
            ValueError, TypeError, KeyError: it is not something that `encode` writes.
        """
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        name, members = value["$"], {key: member for key, member in value.items() if key != "$"}
        if name == "Document":
            return WithheldDocument(members["lengths"])
        if name == "Secret":
            return WithheldSecret(members["length"])
        if name == "dict":
            return {self.decode(key): self.decode(item) for key, item in members["items"]}
        if name in COLLECTIONS:
            return COLLECTIONS[name](self.decode(item) for item in members["items"])
        if name == "timedelta":
            return timedelta(seconds=members["seconds"])
        if name in TIMES:
            return TIMES[name].fromisoformat(members["value"])  # type: ignore[attr-defined]
        return self._decoded_object(self.known[name], {key: self.decode(member) for key, member in members.items()})

    def _decoded_object(self, kind: type, members: dict[str, Any]) -> Any:
        if issubclass(kind, Enum):
            return kind(members["value"])
        if not issubclass(kind, DeployError):
            return kind(**members)
        error = kind.__new__(kind)
        error.args = (members.pop("message"),)
        vars(error).update(members)
        return error


def _length(secret: Secret[Any]) -> int:
    return secret.length if isinstance(secret, WithheldSecret) else len(str(secret.reveal() or ""))


def _encoded_time(value: date | timedelta) -> dict[str, Any]:
    if isinstance(value, timedelta):
        return {"$": "timedelta", "seconds": value.total_seconds()}
    return {"$": type(value).__name__, "value": value.isoformat()}
