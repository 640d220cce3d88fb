"""The plan and the status of a rotation, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deploytools.rotation.key_phases import KeyPhase, version_of
from deploytools.rotation.rotation_state import LoginState, RotationState
from deploytools.secrets.contract import ROTATED_AT
from deploytools.secrets.versions import short_id
from deploytools.tenants.operations import Operation
from deploytools.wording import count

VERSION = 1


def to_plan_text(steps: Sequence[Operation]) -> str:
    """Return one line for each step."""
    return "\n".join(f"  - {step}" for step in steps) or "  No changes: the former login is closed."


def to_status_text(state: RotationState) -> str:
    """Return where the rotation stands, and who uses each login."""
    secret = state.secret
    lines = [f"{secret.name}: version {short_id(secret.version)}, login {state.current}, {_age(state)}"]
    if state.pending_version:
        lines.append(f"  A rotation is not finished: AWSPENDING is on version {short_id(state.pending_version)}.")
    if state.has_leftover_labels:
        lines.append(f"  A rotation was interrupted after its switch. Complete it: {state.command}")
    for login in state.logins.values():
        lines.append(f"  {login.name}: {_kind(login, state)}, {count(len(login.sessions), 'session')}")
        lines += [f"    {session}" for session in login.sessions]
    if not state.pending_version and any(_kind(login, state).startswith("open") for login in state.logins.values()):
        lines.append(f"When every process uses the new login, run: {state.command} --finish")
    return "\n".join(lines)


def to_recovery_text(state: RotationState) -> str:
    """Return the sessions whose processes do not recover from a changed password, for a rotation of one login."""
    sessions = [session for session in state.logins[state.current].sessions if not version_of(session)]
    if not sessions:
        return f"All sessions of {state.current} are of processes with deploytools.backend, or there are none."
    found = (
        f"{count(len(sessions), 'session')} of {state.current} without deploytools.backend. New connections of these"
    )
    return "\n".join([f"{found} processes fail until they are restarted:", *(f"    {session}" for session in sessions)])


def _kind(login: LoginState, state: RotationState) -> str:
    if login.name == state.current:
        return "in AWSCURRENT"
    if login.role is None:
        return "does not exist yet"
    if not login.role.can_login:
        return "closed"
    if login.role.is_expired:
        return f"expired at {login.valid_until}"
    return f"open until {login.valid_until}" if login.valid_until else "open"


def _rotated_at(state: RotationState) -> str:
    dates = state.secret.document[ROTATED_AT].reveal() if ROTATED_AT in state.secret.document else {}
    return str(dates.get("password", "")) if isinstance(dates, dict) else ""


def _age(state: RotationState) -> str:
    date = _rotated_at(state)
    return f"password rotated on {date}" if date else "password not rotated yet"


def to_json(state: RotationState, steps: Sequence[Operation] | None = None) -> str:
    """Return one JSON document with the status and, if given, the steps."""
    document = {
        "version": VERSION,
        "secret": state.secret.name,
        "current_version": state.secret.version,
        "pending_version": state.pending_version or None,
        "rotated_at": _rotated_at(state) or None,
        "owner": state.owner,
        "login": state.current,
        "logins": [
            {
                "name": login.name,
                "status": _kind(login, state),
                "valid_until": login.valid_until or None,
                "sessions": [
                    {"application": s.application, "address": s.address, "since": s.since, "idle_seconds": s.idle}
                    for s in login.sessions
                ],
            }
            for login in state.logins.values()
        ],
    }
    if steps is not None:
        document["steps"] = [str(step) for step in steps]
    return json.dumps(document, indent=2)


def to_phase_text(phase: KeyPhase) -> str:
    """Return the line of a phase."""
    return f"  - {phase}"


def to_phase_json(phase: KeyPhase, *, is_applied: bool) -> str:
    """Return one JSON document with the phase."""
    return json.dumps(
        {"version": VERSION, "phase": str(phase), "is_applied": is_applied, "next": phase.after}, indent=2
    )
