"""The result of reading one fact: a value, or the reason why there is none. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploytools.errors import DeployError


@dataclass(frozen=True)
class Value:
    """The fact was read."""

    value: Any


@dataclass(frozen=True)
class Absent:
    """What the fact describes does not exist."""

    error: DeployError


@dataclass(frozen=True)
class Unsupported:
    """deploytools does not support what the fact describes."""

    error: DeployError


@dataclass(frozen=True)
class Failed:
    """The fact could not be read."""

    error: DeployError


@dataclass(frozen=True)
class NotTried:
    """The fact was not read, because the fact `needed` has no value."""

    needed: str


Fact = Value | Absent | Unsupported | Failed | NotTried


class UnsupportedError(DeployError):
    """Raised by the source of a fact: deploytools does not support what it found."""
