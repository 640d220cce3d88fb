"""Facts of the rotation of the secret: when each key was rotated, and whether the former login still works."""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError, ConnectionFailed, ConnectionFailure, NotFound
from deploytools.postgres.connections import TRUSTED_SEARCH_PATH, Login, translate_database_errors
from deploytools.rotation.rotation_state import COMMAND, command_for, other_login
from deploytools.secrets.contract import ROTATED_AT
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.secrets.reader import SecretReader
from deploytools.secrets.versions import PREVIOUS
from deploytools.tenants.credentials import login_secret_name, login_with, owner_role, tenant_login
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, configured_tenants
from deploytools.verification.alarms.facts import function_policy
from deploytools.verification.iam.policies import account_of, invocation
from deploytools.verification.registry import fact
from deploytools.verification.secret.facts import SecretDescription

#: Days between a rotation and the expiry date of the former login.
MAX_GRACE = 30

RotationDates = Mapping[str, datetime]


@fact()
def rotation_dates(secret: SecretState) -> RotationDates:
    """The time of the last rotation of each key, from ``rotated_at`` in the secret, without invalid ones."""
    return _dates_in(secret.document)


@fact(actions=("lambda:GetPolicy",))
def rotation_function(secret_description: SecretDescription, secret: SecretState) -> str:
    """Whether Secrets Manager can invoke the rotation function: ``allowed``, ``conditional``, …

    Empty: there is none, or it is one of another account, whose policy cannot be read.
    """
    function, arn = secret_description.function, secret_description.arn
    if not secret_description.rotates or account_of(function) != account_of(arn):
        return ""
    return invocation(function, function_policy(function, secret.region), "secretsmanager.amazonaws.com", arn)


@fact(actions=("secretsmanager:GetSecretValue",))
def login_rotation_dates(rotation_dates: RotationDates, secret: SecretState, settings: Settings) -> RotationDates:
    """As `rotation_dates`, of the secret with the login of this process: its tenant's own, or the shared one."""
    if settings.is_shared:
        return rotation_dates
    reader = SecretReader.connect(login_secret_name(settings, settings.database), secret.region)
    return _dates_in(reader.read_current()[1])


@fact()
def open_logins(secret: SecretState, settings: Settings) -> tuple[str, ...]:
    """The tenants, except this process's, with two open logins. Only PostgreSQL's catalog is read, no other secret."""
    if settings.is_shared:
        return ()
    tenants = [tenant.name for tenant in configured_tenants(settings) if tenant.name != settings.database]
    logins = [name + suffix for name in tenants for suffix in ("", SECOND_LOGIN_SUFFIX)]
    found = read_open_logins(tenant_login(settings, secret.document, settings.database), settings.database, logins)
    return tuple(name for name in tenants if {name, name + SECOND_LOGIN_SUFFIX} <= found)


def read_open_logins(login: Login, database: str, names: list[str]) -> Set[str]:
    """Return those of the roles that can log in after `MAX_GRACE` days."""
    with login.connect(database, settings=TRUSTED_SEARCH_PATH) as session, translate_database_errors("read the roles"):
        rows = session.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND rolcanlogin "
            "AND coalesce(rolvaliduntil > now() + make_interval(days => %s), true)",
            [names, MAX_GRACE],
        ).fetchall()
    return {row.rolname for row in rows}


def _dates_in(document: Document) -> RotationDates:
    found = document[ROTATED_AT].reveal() if ROTATED_AT in document else None
    dates = dict[str, datetime]()
    for key, text in found.items() if isinstance(found, dict) else ():
        with suppress(ValueError, TypeError):
            date = datetime.fromisoformat(text)
            dates |= {key: date} if date.tzinfo else {}
    return dates


@dataclass(frozen=True)
class FormerLogin:
    """The login that a rotation has replaced.

    Attributes:
        rotated_at: the time of the rotation.
        is_open: whether PostgreSQL accepts the password of AWSPREVIOUS, or lets the role log in with another one.
        is_current: whether it is also the login of AWSCURRENT, with another password.
        valid_until: the time after which PostgreSQL refuses its password; None: there is none.
        command: the command that rotates it, for hints.
    """

    user: str
    is_open: bool
    rotated_at: datetime
    is_current: bool = False
    valid_until: datetime | None = None
    command: str = COMMAND


@fact(actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), deadline=30)
def former_login(secret: SecretState, settings: Settings, secret_description: SecretDescription) -> FormerLogin | None:
    """The former login, tried with the password of AWSPREVIOUS. None: the password was never rotated.

    With a role for each tenant, that of the tenant of this process.
    """
    database = settings.database
    command = command_for("" if settings.is_shared else database)
    reader = SecretReader.connect(login_secret_name(settings, database), secret.region)
    state = secret if settings.is_shared else reader.read()
    by_aws = secret_description.rotated_at if settings.is_shared else None
    rotated_at = _dates_in(state.document).get("password", by_aws)
    if not rotated_at:
        return None
    current = login_with(settings, secret.document, state.document)
    previous = _previous_login(reader, settings, secret)
    if previous == current:
        previous = None
    owner = owner_role(settings, state.document) if settings.is_shared else database
    other = _other_role(owner, current, previous)
    can_log_in, valid_until = _read_role(current, database, other)
    is_accepted = previous is not None and _is_accepted(previous, database)
    if is_accepted and previous and previous.user == current.user:
        return FormerLogin(current.user, True, rotated_at, is_current=True)
    user = other if previous is None or can_log_in is not None else previous.user
    return FormerLogin(user, is_accepted or bool(can_log_in), rotated_at, valid_until=valid_until, command=command)


def _other_role(owner: str, current: Login, previous: Login | None) -> str:
    if previous and previous.user != current.user:
        return previous.user
    with suppress(ConfigurationError):  # The login is not one of the two.
        return other_login(owner, current.user)
    return ""


def _previous_login(reader: SecretReader, settings: Settings, secret: SecretState) -> Login | None:
    try:
        document: Document = reader.read_stage(PREVIOUS).document
    except NotFound:
        return None
    if not {"username", "password"} <= document.keys():
        return None
    return login_with(settings, secret.document, document)


def _read_role(login: Login, database: str, user: str) -> tuple[bool | None, datetime | None]:
    """Return whether a role can log in (None: it does not exist), and when its password expires."""
    with login.connect(database, settings=TRUSTED_SEARCH_PATH) as session, translate_database_errors("read the roles"):
        row = session.execute(
            "SELECT rolcanlogin AND coalesce(rolvaliduntil > now(), true) AS can_log_in, "
            "CASE WHEN rolvaliduntil BETWEEN '1970-01-01' AND '9999-01-01' THEN rolvaliduntil END AS until "
            "FROM pg_roles WHERE rolname = %s",
            [user],
            binary=True,  # For any DateStyle.
        ).fetchone()
    return (row.can_log_in, row.until) if row else (None, None)


def _is_accepted(login: Login, database: str) -> bool:
    try:
        login.connect(database).close()
    except ConnectionFailed as error:
        if error.kind is ConnectionFailure.PASSWORD:
            return False
        raise
    return True
