"""`Secret`: how a credential travels. It shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import hmac
import json
from typing import Generic, NoReturn, TypeVar

Value = TypeVar("Value")

MASK = "********"


class Secret(Generic[Value]):
    """A value that does not appear in ``repr``, ``str``, formats, pickles or comparisons' messages.

    Args:
        value: what is to be kept: text, or a number such as a port.
    """

    __slots__ = ("__value",)

    def __init__(self, value: Value) -> None:
        self.__value = value

    def reveal(self) -> Value:
        """The value itself. Every call of this is a place to look at in a review."""
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
        raise TypeError("A Secret is not pickled: it would be written down in clear.")


def _canonical(value: object) -> bytes:
    """Equal for equal JSON values of equal type, whatever the order of an object's members."""
    return json.dumps(value, sort_keys=True, default=repr).encode()
