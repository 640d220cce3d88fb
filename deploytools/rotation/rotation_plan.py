"""From the state of the secret and of the logins to the steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from deploytools.errors import DatabaseError, Refused
from deploytools.rotation.rotation_state import PASSWORD, WAIT, LoginState, RotationState, in_use
from deploytools.rotation.rotation_steps import (
    IDLE,
    CancelVersion,
    CloseLogin,
    CopySettings,
    CreateSecondLogin,
    CreateVersion,
    EndRotation,
    EndSessions,
    LimitLogin,
    OpenLogin,
    SetMasterPassword,
    Switch,
    TestCurrent,
    TestLogin,
    TestMaster,
)
from deploytools.tenants.operations import AssignLogin, GrantToMaster, Operation, RemoveExpiry
from deploytools.tenants.options import DesiredState
from deploytools.tenants.preflight import require_admin, role_error
from deploytools.wording import quote_name

Steps = tuple[Operation, ...]


def plan_rotation(state: RotationState, *, one_login: bool = False, grace: int = 0) -> Steps:
    """Return the steps of a rotation: all of a new one, or those that remain of an interrupted one.

    Args:
        one_login: change the password of the login in the secret, instead of moving to the other one.
        grace: seconds after which PostgreSQL closes the former login; 0: it stays open until ``--finish``.

    Raises:
        Refused: the login to move to is in use by an earlier rotation.
        DatabaseError: the master user lacks a privilege, or another role has the name of the second login.
    """
    secret = state.secret.name
    if state.has_leftover_labels:
        limit = (LimitLogin(state.other, grace),) if grace and not one_login else ()
        return (*limit, EndRotation(secret))
    login = state.current if one_login else state.other
    if state.pending is not None:
        found = state.credential.user_in(state.pending)
        if found != login:
            raise Refused(
                f"An unfinished rotation of {secret} has the login {found}, not {login}. Nothing was changed.",
                hint=f"Continue it: {state.resume_command}, or cancel it: {state.command} --abort"
                f"{' --one-login' * one_login}",
            )
    elif not one_login:
        _require_unused(state, state.logins[login])
    for name in {state.owner, login} & state.server.roles.keys():
        require_admin(state.server.roles[name], state.server, f"set the password of {name}")
    steps = [*(() if one_login else _prepare(state, login))]
    steps += [] if state.pending is not None else [CreateVersion(secret, login)]
    steps += [OpenLogin(login), _test(state, login), Switch(secret, login)]
    if grace and not one_login:
        steps.append(LimitLogin(state.current, grace))
    return (*steps, EndRotation(secret))  # Until then, the labels show what is left to do.


def plan_master_rotation(state: RotationState) -> Steps:
    """Return the steps that rotate the master user's password: all of a new rotation, or those that remain of one.

    Raises:
        Refused: another writer has changed the user name since an unfinished rotation was begun.
    """
    secret, user = state.secret.name, state.current
    if state.has_leftover_labels:
        return (EndRotation(secret),)
    if state.pending is not None and (found := state.credential.user_in(state.pending) or user) != user:
        raise Refused(
            f"An unfinished rotation of {secret} has the master user {found}, not {user}. Nothing was changed.",
            hint=f"Cancel it: {state.command} --abort",
        )
    create = () if state.pending is not None else (CreateVersion(secret, user),)
    return (*create, SetMasterPassword(user), TestMaster(user), Switch(secret, user), EndRotation(secret))


def _test(state: RotationState, login: str) -> TestLogin:
    if not state.databases:
        raise Refused(
            "None of the tenants' databases exists: the new login could not be tried. Nothing was changed.",
            hint="Create them: python manage.py create_tenant_dbs",
        )
    return TestLogin(login, state.owner, state.databases, state.missing_databases)


def _prepare(state: RotationState, login: str) -> Iterator[Operation]:
    """Yield what the second login lacks; `login` can also be the owner, which lacks nothing."""
    if login == state.owner:
        return
    found, owner = state.logins[login], state.server.roles[state.owner]
    _require_own(state, login)
    if found.role is None:
        yield CreateSecondLogin(login, owner.connection_limit)
    if found.role is None or not found.role.master_inherits:
        yield GrantToMaster(login)
    if found.missing_settings:
        yield CopySettings(state.owner, login, found.missing_settings)
    if not found.acts_as_owner:
        yield AssignLogin(state.owner, login)


def _require_own(state: RotationState, login: str) -> None:
    role = state.server.roles.get(login)
    if role and role.can_login and state.owner not in role.memberships:
        raise DatabaseError(
            f"Role {login} exists and is not a login of {state.owner}. Nothing was changed.",
            hint=f"If nothing uses it, drop it: DROP ROLE {quote_name(login)}. Otherwise rotate one login: "
            f"{state.command} --one-login",
        )
    if error := role_error(login, DesiredState(state.owner, ()), state.server, owner=state.owner, logs_in=False):
        raise error


def plan_finish(state: RotationState, *, end_sessions: bool = False, now: bool = False) -> Steps:
    """Return the steps that close the former login; none: it is closed.

    Raises:
        Refused: a rotation is not finished, or the former login is in use; the message names the sessions.
    """
    _require_finished(state)
    former = state.logins[state.other]
    if former.role is None or (not former.role.can_login and not former.sessions):
        return ()
    close = () if not former.role.can_login else (CloseLogin(former.name, is_forced=now),)
    if now:
        return (*close, EndSessions(former.name, 0))
    ended = tuple(s for s in former.sessions if end_sessions and s.idle is not None and s.idle >= IDLE)
    if len(ended) < len(former.sessions):
        raise in_use(
            former, "former", f"{WAIT}. --end-sessions ends those that are idle for 10 s and more, --now ends all."
        )
    return (*((EndSessions(former.name, IDLE),) if ended else ()), *close)


def plan_abort(state: RotationState) -> Steps:
    """Return the steps that cancel a rotation before its switch.

    Raises:
        Refused: there is none.
    """
    if state.pending is None:
        raise Refused(
            f"No rotation of {state.secret.name} can be canceled: none is before its switch.",
            hint=f"To return to the former login, run: {state.command} --back"
            if state.credential == PASSWORD
            else f"Show the rotation: {state.command} --status",
        )
    login = state.credential.user_in(state.pending) or state.owner
    if login == state.current:
        return (TestCurrent(login), CancelVersion(state.secret.name))
    if login not in state.logins or state.credential != PASSWORD:  # Another writer has replaced it in the secret.
        return (CancelVersion(state.secret.name),)
    found = state.logins[login]
    if found.sessions:
        raise in_use(found, "new", f"Complete the rotation: {state.command}")
    is_open = found.role is not None and found.role.can_login
    return (*((CloseLogin(login),) if is_open else ()), CancelVersion(state.secret.name))


def plan_back(state: RotationState) -> Steps:
    """Return the steps that make the former login current again.

    Raises:
        Refused: it is closed, or a rotation is not finished.
    """
    _require_finished(state)
    former = state.logins[state.other]
    if not former.is_open:
        reason = "is closed" if former.role else "does not exist yet"
        raise Refused(f"The former login {former.name} {reason}.", hint=f"Rotate to a new password: {state.command}")
    secret, login = state.secret.name, former.name
    renew = (RemoveExpiry(login),) if former.valid_until else ()
    return (CreateVersion(secret, login), *renew, _test(state, login), Switch(secret, login), EndRotation(secret))


def _require_finished(state: RotationState) -> None:
    if state.pending is not None or state.has_leftover_labels:
        raise Refused(
            f"A rotation of {state.secret.name} is not finished (label {state.credential.label}). Nothing was changed.",
            hint=f"Complete it: {state.resume_command}",
        )


def _require_unused(state: RotationState, login: LoginState) -> None:
    if login.sessions:
        raise in_use(login, "former", f"{WAIT}, then run: {state.command} --finish")
