"""The three phases of a rotation of Django's SECRET_KEY, and which processes a phase must wait for. Pure.

During a rolling restart, old and new processes serve the same users. With the usual two phases, an old process cannot
read what a new one has signed with the new key: sessions are lost. So the new key is a fallback everywhere before any
process signs with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deploytools.errors import Refused
from deploytools.rotation.rotation_state import LoginSession
from deploytools.secrets.contract import DJANGO_KEY, FALLBACKS_KEY, ROTATED_AT
from deploytools.secrets.document import Document, Secret
from deploytools.wording import join_names

COMMAND = "python manage.py rotate_credentials django_secret_key"

#: Member of ``rotated_at``: a key was announced, and does not sign yet.
ANNOUNCED = f"{DJANGO_KEY}_announced"

#: How `deploytools.backend` ends ``application_name``.
VERSION_SUFFIX = re.compile(r"-([0-9a-zA-Z_-]{8})$")


@dataclass(frozen=True)
class KeyPhase:
    """One phase: what it writes to the secret.

    Attributes:
        after: what to do when it is written.
    """

    description: str
    given: Mapping[str, Any]
    unset: tuple[str, ...] = ()
    after: str = ""

    def __str__(self) -> str:
        return self.description


RESTART = f"Restart all processes of the application, one after the other. Then run: {COMMAND}"


def next_phase(document: Document, new_key: str, now: datetime, validity: timedelta) -> KeyPhase:
    """Return the phase that follows the state of the secret.

    Args:
        new_key: the key to announce, if a rotation begins.
        validity: how long a signature must stay valid: the longer one of sessions and password reset links.

    Raises:
        Refused: signatures of the former key are still valid.
    """
    key, fallbacks, dates = _read(document)
    if ANNOUNCED in dates and fallbacks:
        announced, *others = fallbacks
        dates = {name: date for name, date in dates.items() if name != ANNOUNCED}
        return KeyPhase(
            f"switch: the announced key signs, the present one becomes a fallback ({FALLBACKS_KEY})",
            {DJANGO_KEY: announced, FALLBACKS_KEY: [key, *others], ROTATED_AT: dates | {DJANGO_KEY: _iso(now)}},
            after=RESTART,
        )
    if fallbacks and (switched := dates.get(DJANGO_KEY)):
        end = _moment(switched) + validity
        if now < end:
            raise Refused(
                f"Sessions and links that the former key signed are valid until {_iso(end)}. Nothing was changed.",
                hint=f"Run the command after that time. If the former key has leaked, run: {COMMAND} --leaked",
            )
        return KeyPhase(
            f"drop: remove {FALLBACKS_KEY}",
            {},
            unset=(FALLBACKS_KEY,),
            after="Restart all processes of the application. The rotation is then complete.",
        )
    return KeyPhase(
        f"announce: add a new key to {FALLBACKS_KEY}; the present one still signs",
        {FALLBACKS_KEY: [new_key, *fallbacks], ROTATED_AT: dates | {ANNOUNCED: _iso(now)}},
        after=RESTART,
    )


def leaked_phase(document: Document, new_key: str, now: datetime) -> KeyPhase:
    """Return the change after a leak: a new key at once, and no fallback."""
    dates = _read(document)[2]
    dates = {name: date for name, date in dates.items() if name != ANNOUNCED} | {DJANGO_KEY: _iso(now)}
    return KeyPhase(
        "replace the key at once, without a fallback: all users are logged out, password reset links stop working",
        {DJANGO_KEY: new_key, ROTATED_AT: dates},
        unset=(FALLBACKS_KEY,) if FALLBACKS_KEY in document else (),
        after="Restart all processes of the application now: until then they accept the leaked key.",
    )


def key_state(document: Document) -> Secret[Any]:
    """Return what a process reads at its start: the key and its fallbacks."""
    key, fallbacks, _ = _read(document)
    return Secret([key, fallbacks])


def version_of(session: LoginSession) -> str:
    """Return the beginning of the version that the session's process started from; empty: unknown."""
    match = VERSION_SUFFIX.search(session.application)
    return match[1] if match else ""


def require_restarted(sessions: Iterable[LoginSession], restarted: Mapping[str, bool]) -> None:
    """Raise Refused if a process has not read the key and the fallbacks that are in the secret now.

    Args:
        restarted: whether a process of a version, by its beginning, has read them.
    """
    old = [str(session) for session in sessions if not restarted.get(version_of(session))]
    if old:
        raise Refused(
            f"{len(old)} {'sessions are' if old[1:] else 'session is'} of a process that started before the last "
            f"phase, or whose version is not known: {join_names(old)}. Nothing was changed.",
            hint="Restart these processes. If all processes have been restarted since the last phase, add --restarted.",
        )


def _read(document: Document) -> tuple[str, list[str], dict[str, str]]:
    def value(key: str, kind: type) -> Any:
        found = document[key].reveal() if key in document else None
        return found if isinstance(found, kind) else kind()

    return value(DJANGO_KEY, str), value(FALLBACKS_KEY, list), value(ROTATED_AT, dict)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(
            f'{ROTATED_AT}["{DJANGO_KEY}"] in the secret is not a time with a time zone. Nothing was changed.',
            hint=f"Correct it with sync_secrets, for example to 2026-01-31T12:00:00+00:00. Then run: {COMMAND}",
        )
    return moment


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
