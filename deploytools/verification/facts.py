"""What was read from the world: a value, or why there is none. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploytools.errors import DeployError


@dataclass(frozen=True)
class Value:
    """It was read.

    Attributes:
        value: what the source returned.
    """

    value: Any


@dataclass(frozen=True)
class Denied:
    """AWS denied the one action that was needed."""

    action: str
    error: DeployError


@dataclass(frozen=True)
class Absent:
    """It was looked for, where it should be, and does not exist."""

    error: DeployError


@dataclass(frozen=True)
class Failed:
    """It could not be read."""

    error: DeployError


@dataclass(frozen=True)
class NotTried:
    """It was not read, because `needed`, which it depends on, has no value."""

    needed: str


Fact = Value | Denied | Absent | Failed | NotTried
