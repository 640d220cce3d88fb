"""What a rotation is planned from: the labels of the secret, and the logins in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploytools.errors import ConfigurationError, Refused
from deploytools.secrets.document import Document, Secret, value_of
from deploytools.secrets.plan import SecretState
from deploytools.secrets.versions import PENDING, ROTATING, ROTATING_MASTER
from deploytools.tenants.options import MAX_NAME_LENGTH, SECOND_LOGIN_SUFFIX
from deploytools.tenants.state import RoleState, ServerState
from deploytools.wording import join_names

if TYPE_CHECKING:
    from deploytools.postgres.connections import Login

COMMAND = "python manage.py rotate_credentials password"
MASTER_COMMAND = "python manage.py rotate_credentials master_password"

#: Sessions that a message lists.
MAXIMUM_SESSIONS = 5

WAIT = "Wait until these processes use the new login, or restart them"


@dataclass(frozen=True)
class Credential:
    """What a rotation changes in a secret.

    Attributes:
        name: the argument of ``rotate_credentials``.
        label: the label of the rotation's version, beside AWSPENDING, which every rotation uses.
    """

    name: str
    label: str
    user_key: str = "username"
    password_key: str = "password"  # noqa: S105 - the name of a key

    def user_in(self, document: Document) -> str:
        """Return the user name in the secret; empty: it has none."""
        return str(value_of(document, self.user_key) or "")

    def login_in(self, document: Document, login: Login) -> Login:
        """Return `login` with the credential of the secret."""
        password = Secret(str(document[self.password_key].reveal()))
        return replace(login, user=self.user_in(document) or login.user, password=password, pending=None)

    def pending_in(self, secret: SecretState) -> str:
        """Return the version of an unfinished rotation of this credential; empty: there is none."""
        return (secret.pending_version or "") if secret.rotated_credential == self.name else ""


PASSWORD = Credential("password", ROTATING)
MASTER = "master_password"


def master_credential(keys: tuple[str, str]) -> Credential:
    """Return the master user's credential.

    Args:
        keys: user name and password in the secret, as `Master.keys`.
    """
    return Credential(MASTER, ROTATING_MASTER, *keys)


@dataclass(frozen=True)
class LoginSession:
    """One session of a login.

    Attributes:
        since: when it was opened, in ISO 8601.
        idle: seconds that it has been idle, outside a transaction; None: it is not idle.
    """

    pid: int
    application: str
    address: str
    since: str
    idle: float | None = None

    def __str__(self) -> str:
        return f"{self.application or 'unnamed'} from {self.address}, connected since {self.since}"


@dataclass(frozen=True)
class LoginState:
    """One of the two logins.

    Attributes:
        role: None: it does not exist.
        acts_as_owner: whether its membership has INHERIT and SET, and it acts as the owner from its login on.
        valid_until: the end of its password, in ISO 8601; empty: none.
        missing_settings: settings of the owner (ALTER ROLE … SET) that it does not have.
    """

    name: str
    role: RoleState | None = None
    acts_as_owner: bool = True
    valid_until: str = ""
    missing_settings: tuple[str, ...] = ()
    sessions: tuple[LoginSession, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it can log in with its password."""
        return self.role is not None and self.role.can_login and not self.role.is_expired


@dataclass(frozen=True)
class RotationState:
    """The secret and the logins.

    Attributes:
        owner: the role that owns the databases, and the first login.
        logins: both logins by name.
        pending: content of the version of an unfinished rotation of these commands, or None.
        databases: the existing databases of the tenants.
        missing_databases: those that do not exist, or have connections disabled.
        tenant: the tenant whose own secret it is; empty: the shared secret.
        credential: what is rotated.
    """

    secret: SecretState
    server: ServerState
    owner: str
    logins: Mapping[str, LoginState]
    pending: Document | None = None
    databases: tuple[str, ...] = ()
    missing_databases: tuple[str, ...] = ()
    tenant: str = ""
    credential: Credential = PASSWORD

    @property
    def command(self) -> str:
        """The command that rotates this secret."""
        return command_for(self.tenant) if self.credential == PASSWORD else MASTER_COMMAND

    @property
    def resume_command(self) -> str:
        """The command that continues an unfinished rotation."""
        pending = self.pending is not None and self.credential.user_in(self.pending)
        return self.command + " --one-login" * (self.credential == PASSWORD and pending == self.current)

    @property
    def current(self) -> str:
        """The login in AWSCURRENT."""
        return self.credential.user_in(self.secret.document) or self.owner

    @property
    def other(self) -> str:
        """The login that is not in AWSCURRENT."""
        return other_login(self.owner, self.current, self.tenant)

    @property
    def pending_version(self) -> str:
        """The version of an unfinished rotation of these commands; empty: none."""
        return self.credential.pending_in(self.secret)

    @property
    def has_leftover_labels(self) -> bool:
        """Whether a rotation has made its version current and was interrupted before it removed its labels."""
        labels = self.secret.labels.get(self.secret.version, ())
        return self.credential.label in labels and PENDING in labels


def command_for(tenant: str) -> str:
    """Return the command that rotates the password of a tenant; empty: the shared one."""
    return f"{COMMAND} --tenant {tenant}" if tenant else COMMAND


def other_login(owner: str, current: str, tenant: str = "") -> str:
    """Return the login that takes turns with `current`.

    Args:
        tenant: the tenant whose own secret has the login; empty: the shared secret.

    Raises:
        ConfigurationError: `current` is not a login of `owner`, or the name of the second one would be too long.
    """
    second, one_login = owner + SECOND_LOGIN_SUFFIX, f"{command_for(tenant)} --one-login"
    if len(second.encode()) > MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"The second login of {owner} would be {second}, which is longer than {MAX_NAME_LENGTH} bytes.",
            hint=f"Rename the role, or rotate one login: {one_login}",
        )
    if current not in (owner, second):
        owns = (
            f"If {current} is the role that owns the databases, set owner in the secret to it: python manage.py "
            f"sync_secrets --set owner={current}. Otherwise rotate one login: "
        )
        raise ConfigurationError(
            f"The login in the secret is {current}, which is neither {owner} nor {second}.",
            hint=("Rotate one login: " if tenant else owns) + one_login,
        )
    return second if current == owner else owner


def in_use(login: LoginState, which: str, hint: str, unchanged: str = "Nothing was changed.") -> Refused:
    """Return the error of a login that must not be changed while sessions use it."""
    sessions = join_names([str(session) for session in login.sessions], most=MAXIMUM_SESSIONS)
    return Refused(f"The {which} login {login.name} is in use by {sessions}. {unchanged}", hint=hint)
