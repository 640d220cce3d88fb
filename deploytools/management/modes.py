"""Modes of a command, and the options that each accepts: options that do nothing in a mode are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytools.errors import ConfigurationError

#: For each mode the options that it accepts, and a hint.
Modes = Mapping[str, tuple[tuple[str, ...], str]]

#: Options that every mode accepts: Django's own, those of `call_command`, and --noinput, which scripts always pass.
COMMON = {
    "force_color", "interactive", "no_color", "pythonpath", "settings", "skip_checks", "stderr", "stdout", "traceback",
    "verbosity",
}  # fmt: skip


def refuse_idle_options(modes: Modes, options: Mapping[str, Any], argument: str = "") -> None:
    """Refuse options that would do nothing.

    Args:
        argument: the value of a positional argument, if its values are modes.

    Raises:
        ConfigurationError: an option does nothing in the mode.
    """
    given = [name for name, value in options.items() if is_given(value)]
    for mode in (mode for mode in modes if mode in (argument, *given)):
        accepted, hint = modes[mode]
        if idle := [option for option in given if option not in {mode, *accepted, *COMMON}]:
            name = argument if mode == argument else flag(mode)
            raise ConfigurationError(f"{name} cannot be combined with {flag(idle[0])}.", hint=hint)


def with_defaults(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` with `defaults` for those that were not given.

    The parser does not have these defaults: an option that is given with its default value was given, too.
    """
    return {**options, **{name: value for name, value in defaults.items() if options[name] is None}}


def is_given(value: object) -> bool:
    """Return whether an option of this value was given. 0 is a value."""
    return value is not None and value is not False and value != []


def flag(option: str) -> str:
    """Return the option string of an attribute: ``--keep-going``; ``FILE`` is not an option."""
    return "FILE" if option == "file" else f"--{option.replace('_', '-')}"
