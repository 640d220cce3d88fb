"""The plan and the status of a rotation, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deploytools.rotation.key_phases import KeyPhase, version_of
from deploytools.rotation.managed_master import ManagedMaster, ManagedState
from deploytools.rotation.rotation_state import PASSWORD, LoginState, RotationState
from deploytools.secrets.plan import rotation_dates
from deploytools.secrets.versions import short_id
from deploytools.tenants.operations import Operation
from deploytools.wording import count, wrapped

VERSION = 1


def to_plan_text(steps: Sequence[Operation | str]) -> str:
    """Return one line for each step."""
    lines = [line for step in steps for line in step_lines(step, "-")]
    return "\n".join(lines) or "  No changes: the former login is closed."


def step_lines(step: Operation | str, symbol: str) -> list[str]:
    """Return the lines of a step of a plan, or of one that was applied."""
    return wrapped(str(step), indent=f"  {symbol} ")


def to_status_text(state: RotationState) -> str:
    """Return where the rotation stands, and who uses each login."""
    secret = state.secret
    lines = [f"{secret.name}: version {short_id(secret.version)}, login {state.current}, {_age(state)}"]
    if state.pending_version:
        pending = short_id(state.pending_version)
        lines += [
            f"  A rotation is not finished: AWSPENDING is on version {pending}. Complete it:",
            f"  {state.resume_command}",
        ]
    if state.has_leftover_labels:
        lines += ["  A rotation was interrupted after its switch. Complete it:", f"  {state.command}"]
    for login in state.logins.values():
        lines.append(f"  {login.name}: {_kind(login, state)}, {count(len(login.sessions), 'session')}")
        lines += [f"    {session}" for session in login.sessions]
    if not state.pending_version and any(_kind(login, state).startswith("open") for login in state.logins.values()):
        lines.append(f"When every process uses the new login, run: {state.command} --finish")
    return "\n".join(lines)


def to_recovery_text(state: RotationState) -> str:
    """Return the sessions whose processes do not recover from a changed password, for a rotation of one login."""
    user, is_application = state.current, state.credential == PASSWORD
    sessions = [session for session in state.logins[user].sessions if not version_of(session)]
    if not sessions and is_application:
        return f"All sessions of {user} are of processes with deploytools.backend, or there are none."
    if not sessions:
        return f"No other session of {user} is open."
    found = f"{count(len(sessions), 'session')} of {user}{' without deploytools.backend' * is_application}"
    until = "they are restarted" if is_application else "they use the new password"
    lines = [f"{found}. New connections of these processes fail until {until}:"]
    return "\n".join([*lines, *(f"    {session}" for session in sessions)])


def to_offer(instance: str) -> str:
    """Return how RDS can manage the master user's password instead."""
    prose = (
        "RDS can manage this password and rotate it every 7 days. Blue/green deployments and new read replicas are "
        "then not possible. If the instance is not in a DB cluster, run:"
    )
    lines = [
        *wrapped(prose, indent=""),
        f"  aws rds modify-db-instance --db-instance-identifier {instance} --manage-master-user-password "
        "--apply-immediately",
        "Then remove it from the secret:",
        "  python manage.py sync_secrets --unset master_username --unset master_password",
    ]
    return "\n".join(lines)


def to_managed_text(managed: ManagedMaster, state: ManagedState) -> str:
    """Return the status of a secret that RDS manages."""
    return (
        f"{state.arn}: version {short_id(state.version)}, master user {managed.user}, managed by RDS for "
        f"{managed.instance} (status: {state.status}), password rotated on {state.rotated_at}"
    )


def to_managed_json(managed: ManagedMaster, state: ManagedState, steps: Sequence[str] | None) -> str:
    """Return one JSON document with the status and, if given, the steps."""
    document = {
        "version": VERSION,
        "secret": state.arn,
        "current_version": state.version,
        "rotated_at": state.rotated_at,
        "login": managed.user,
        "instance": managed.instance,
        "status": state.status,
    }
    return json.dumps(document | ({} if steps is None else {"steps": steps}), indent=2)


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
    return str(rotation_dates(state.secret.document).get(state.credential.password_key, ""))


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
        "owner": state.owner if state.credential == PASSWORD else None,
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


def to_phase_json(phase: KeyPhase, *, is_applied: bool) -> str:
    """Return one JSON document with the phase."""
    return json.dumps(
        {"version": VERSION, "phase": str(phase), "is_applied": is_applied, "next": phase.after}, indent=2
    )
