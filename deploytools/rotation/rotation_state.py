"""What a rotation is planned from: the labels of the secret, and the logins in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploytools.errors import ConfigurationError
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.secrets.versions import PENDING
from deploytools.tenants.options import MAX_NAME_LENGTH, SECOND_LOGIN_SUFFIX
from deploytools.tenants.state import RoleState, ServerState

#: The label of a rotation's version, beside AWSPENDING, which every rotation uses.
ROTATING = "deploytools-rotation"

COMMAND = "python manage.py rotate_credentials password"


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
    """

    secret: SecretState
    server: ServerState
    owner: str
    logins: Mapping[str, LoginState]
    pending: Document | None = None
    databases: tuple[str, ...] = ()
    missing_databases: tuple[str, ...] = ()
    tenant: str = ""

    @property
    def command(self) -> str:
        """The command that rotates this secret."""
        return f"{COMMAND} --tenant {self.tenant}" if self.tenant else COMMAND

    @property
    def current(self) -> str:
        """The login in AWSCURRENT."""
        return str(self.secret.document["username"].reveal())

    @property
    def other(self) -> str:
        """The login that is not in AWSCURRENT."""
        return other_login(self.owner, self.current)

    @property
    def pending_version(self) -> str:
        """The version of an unfinished rotation of these commands; empty: none."""
        pending = self.secret.pending_version
        return pending if pending and ROTATING in self.secret.labels[pending] else ""

    @property
    def has_leftover_labels(self) -> bool:
        """Whether a rotation has made its version current and was interrupted before it removed its labels."""
        labels = self.secret.labels.get(self.secret.version, ())
        return ROTATING in labels and PENDING in labels


def other_login(owner: str, current: str) -> str:
    """Return the login that takes turns with `current`.

    Raises:
        ConfigurationError: `current` is not a login of `owner`, or the name of the second one would be too long.
    """
    second = owner + SECOND_LOGIN_SUFFIX
    if len(second.encode()) > MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"The second login of {owner} would be {second}, which is longer than {MAX_NAME_LENGTH} bytes.",
            hint="Rename the role, or rotate one login: --one-login",
        )
    if current not in (owner, second):
        raise ConfigurationError(
            f"The login in the secret is {current}, which is neither {owner} nor {second}.",
            hint=f"If {current} is the role that owns the databases, set owner in the secret to it: python manage.py "
            f"sync_secrets --set owner={current}. Otherwise rotate one login: --one-login",
        )
    return second if current == owner else owner
