"""Modes of a command, and the options that do nothing in a mode: they are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytools.errors import ConfigurationError

#: For each mode the options that do nothing in it, and a hint.
Modes = Mapping[str, tuple[tuple[str, ...], str]]


def refuse_idle_options(modes: Modes, options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Refuse options that would do nothing.

    Args:
        defaults: defaults other than None, False and an empty list.

    Raises:
        ConfigurationError: an option does nothing in the mode.
    """
    given = {name for name, value in options.items() if is_given(value) and value != (defaults or {}).get(name)}
    for mode, (idle, hint) in modes.items():
        if mode in given and (others := [option for option in idle if option in given]):
            raise ConfigurationError(f"{flag(mode)} cannot be combined with {flag(others[0])}.", hint=hint)


def is_given(value: object) -> bool:
    """Return whether an option of this value was given. 0 is a value."""
    return value is not None and value is not False and value != []


def flag(option: str) -> str:
    """Return the option string of an attribute: ``--keep-going``."""
    return f"--{option.replace('_', '-')}"
