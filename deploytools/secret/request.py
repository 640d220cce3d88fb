"""What is asked of `sync_secrets`: values from several ways put together, contradictions refused. Pure.

Nothing here reads a file, a terminal, an environment or another secret: what was read comes in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploytools.errors import ConfigurationError, Refused
from deploytools.secret.contract import Field as Row
from deploytools.secret.contract import by_name
from deploytools.secret.document import Document
from deploytools.secret.making import makeable
from deploytools.secret.value import Secret

NOTHING = Document({})


@dataclass(frozen=True)
class Request:
    """The keys to set, to take out and to fill.

    Attributes:
        given: what each key is to be.
        unset: the keys to take out.
        fills: what keys are to be that are missing or hold a placeholder.
        made: the keys of `given` whose values were made here.
    """

    given: Document
    unset: tuple[str, ...] = ()
    fills: Document = field(default_factory=lambda: NOTHING)
    made: tuple[str, ...] = ()


#: One way in which values come, for example ``--ask``, and what came by it.
Way = tuple[str, Mapping[str, Secret[Any]]]


def combine(
    ways: Iterable[Way], *, unset: Sequence[str] = (), fills: Document = NOTHING, made: Sequence[str] = ()
) -> Request:
    """All values in one request.

    Raises:
        ConfigurationError: a key comes by two ways, or is to be set and taken out.
    """
    ways = list(ways)
    origin: dict[str, str] = {}
    given = NOTHING
    for name, values in (*ways, ("--unset", dict.fromkeys(unset, Secret(None)))):
        if twice := [key for key in values if key in origin]:
            raise ConfigurationError(
                f"{twice[0]} is given twice, by {origin[twice[0]]} and by {name}.", hint="Say once what it is to be."
            )
        origin |= dict.fromkeys(values, name)
    for _, values in ways:
        given = given.merge(values)
    return Request(given, tuple(unset), fills.without(unset), tuple(made))


def assignments(option: str, texts: Iterable[str]) -> dict[str, str]:
    """``KEY=TEXT`` of an option that may be given several times.

    Raises:
        ConfigurationError: one has no ``=``, or a key comes twice. What was typed is not quoted: it may be secret.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, separator, rest = text.partition("=")
        if not separator or not key:
            raise ConfigurationError(
                f"{option} is given without KEY=…", hint=f"For example: {option} {_EXAMPLE[option]}"
            )
        if key in found:
            raise ConfigurationError(f"{key} is given twice by {option}.", hint="Say once what it is to be.")
        found[key] = rest
    return found


_EXAMPLE = {
    "--set": "email_port=587",
    "--from-env": "email_password=SMTP_PASSWORD",
    "--from-secret": "email_password=prod/mail#password",
    "--tag": "tenant=shop",
}


def refuse_assignments(option: str, keys: Iterable[str]) -> None:
    """Raises `ConfigurationError` where a value was typed behind a key; does not quote it."""
    if any("=" in key for key in keys):
        raise ConfigurationError(
            f"{option} takes the name of a key and no value.", hint=f"For example: {option} email_password"
        )


def refuse_sensitive(keys: Iterable[str], fields: Sequence[Row]) -> None:
    """Raises `Refused` for keys whose values must not be typed on a command line.

    A key that no row knows counts as sensitive.
    """
    rows = by_name(fields)
    if refused := [key for key in keys if key not in rows or rows[key].is_sensitive]:
        raise Refused(
            f"--set takes no value for {', '.join(refused)}: the arguments of a process are seen by everybody on the "
            "machine and stay in the shell's history.",
            hint=f"Change the value where it comes from if it was a real one, then: --ask {refused[0]}, or --from-env "
            f"{refused[0]}=VARIABLE, or a FILE. A key of your own that may be seen is declared in "
            'DEPLOYTOOLS["SECRET_FIELDS"] with "sensitive": False.',
        )


def refuse_unmakeable(keys: Collection[str], fields: Sequence[Row]) -> None:
    """Raises `ConfigurationError` for keys whose values nobody can make here."""
    can = makeable(fields)
    if refused := [key for key in keys if key not in can]:
        raise ConfigurationError(
            f"{', '.join(refused)} cannot be made here; somebody else gives it out.",
            hint=f"What can be made: {', '.join(can)}.",
        )
