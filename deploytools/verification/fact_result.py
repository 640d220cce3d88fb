"""The result of reading one fact: a value, or the reason why there is none. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deploytools.errors import DeployError


@dataclass(frozen=True)
class _Result:
    #: How long the fact was read, without the facts that it needs.
    seconds: float = field(default=0.0, compare=False, kw_only=True)


@dataclass(frozen=True)
class Value(_Result):
    """The fact was read."""

    value: Any


@dataclass(frozen=True)
class Absent(_Result):
    """What the fact describes does not exist."""

    error: DeployError


@dataclass(frozen=True)
class Failed(_Result):
    """The fact could not be read."""

    error: DeployError


@dataclass(frozen=True)
class NotTried(_Result):
    """The fact was not read, because the fact `needed` has no value."""

    needed: str


Fact = Value | Absent | Failed | NotTried
