"""One rotation of one secret: read the state, run the steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from deploytools.errors import DatabaseError, DeployError, Refused
from deploytools.postgres.connections import (
    MAINTENANCE_DATABASE,
    Connection,
    Login,
    scram_verifier,
    translate_database_errors,
)
from deploytools.rotation.rotation_state import WAIT, LoginSession, LoginState, RotationState, in_use, other_login
from deploytools.rotation.rotation_store import NewLogin, RotationStore, is_current, require_not_rotated_by_others
from deploytools.secrets.document import Secret
from deploytools.secrets.plan import rotation_dates
from deploytools.secrets.versions import PREVIOUS
from deploytools.tenants.catalog import password_works, read_logins, read_roles
from deploytools.tenants.credentials import new_password
from deploytools.tenants.isolation import verify_tenant
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX, DesiredState, Tenant
from deploytools.tenants.state import ServerState
from deploytools.tenants.step_execution import run_step

logger = logging.getLogger(__name__)


@dataclass
class Rotator:
    """Reads the state of one secret and its logins, and executes steps.

    Attributes:
        connection: the master user's session; it holds the lock while steps are executed.
        app: the login of the application, for its server.
        owner: the role that owns the databases.
        tenants: names of the tenants whose databases the new login is tried on.
        tenant: the tenant whose own secret it is; empty: the shared secret.
        one_login: the login in the secret gets the new password. So does the master user, with ``owner`` as its name.
        goes_back: the new version has the login of AWSPREVIOUS instead of a new password.
    """

    connection: Connection
    store: RotationStore
    app: Login
    owner: str
    tenants: Sequence[str]
    tenant: str = ""
    one_login: bool = False
    goes_back: bool = False
    on_step: Callable[[Operation], None] = field(default=lambda step: None)

    def read(self) -> RotationState:
        """Return the state of the secret and of both logins.

        Raises:
            RotationInProgress: another rotation than one of these commands is in progress.
            ConfigurationError: the login in the secret is not one of the two.
        """
        secret = self.store.read()
        require_not_rotated_by_others(secret, self.store.credential, self.store.aws_version)
        current = self.store.credential.user_in(secret.document) or self.owner
        version = self.store.credential.pending_in(secret)
        pending = self.store.read_version(version).document if version else None
        names = [self.owner, self.owner + SECOND_LOGIN_SUFFIX]
        if self.one_login:  # Also the login that an unfinished rotation has opened.
            opened = self.store.credential.user_in(pending) if pending else ""
            names = [current, *(name for name in names if name == opened != current)]
        else:
            other_login(self.owner, current, self.tenant)  # Validates the names.
        with translate_database_errors("read the logins"):
            logins, server = self._read_logins(names)
            found = self.connection.execute(
                "SELECT datname::text AS name FROM pg_database WHERE datname = ANY(%s) AND datallowconn",
                [list(self.tenants)],
            ).fetchall()
        existing = {row.name for row in found}
        if self.owner not in server.roles:
            raise DatabaseError(
                f"Role {self.owner} does not exist.", hint="Create it: python manage.py create_tenant_dbs"
            )
        return RotationState(
            secret,
            server,
            self.owner,
            logins,
            pending=pending,
            databases=tuple(name for name in self.tenants if name in existing),
            missing_databases=tuple(name for name in self.tenants if name not in existing),
            tenant=self.tenant,
            credential=self.store.credential,
        )

    def run(self, steps: Sequence[Operation]) -> None:
        """Execute the steps; after an error, another run continues.

        Raises:
            DeployError: a step failed, or the server or the secret has changed since the plan was made.
        """
        for step in steps:
            run_step(step, self, self.connection)
            self.on_step(step)

    # Called by the steps.

    def execute_sql(self, operation: Operation) -> None:
        """Execute the statement in the master user's session."""
        verifier = scram_verifier(self._pending_login()) if operation.password_role else ""
        self.connection.execute(operation.sql(verifier))

    def create_version(self) -> None:
        """Create the version of the new login under AWSPENDING."""
        state = self.store.read()
        former = self.store.credential.user_in(state.document)
        user = former if self.one_login else other_login(self.owner, former, self.tenant)
        password = self._previous_password(user) if self.goes_back else new_password()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        login = NewLogin(user, password, self.owner, former, now, self.store.credential)
        self.store.begin(state, login.merge_into(state.document))

    def require_pending(self, role: str) -> None:
        """Raise Refused unless the version of AWSPENDING is of `role`: its password is about to be set."""
        if self._pending_login().user != role:
            raise Refused(f"The login of AWSPENDING is not {role}.", hint="Run the command again.")

    def require_unused(self, role: str) -> None:
        """Raise Refused if a session of `role` was opened with its former password since the plan was made."""
        sessions = () if self.one_login else read_sessions(self.connection, [role])
        if sessions and not password_works(self._pending_login()):
            unchanged = "Its password was not changed."
            raise in_use(
                LoginState(role, sessions=sessions), "former", f"{WAIT}, then run the command again.", unchanged
            )

    def require_former(self, role: str) -> None:
        """Raise Refused if `role` is the login of AWSCURRENT, which must not be closed."""
        if self.store.credential.user_in(self.store.read().document) == role:
            raise Refused(f"{role} is the login of AWSCURRENT; it was not closed.", hint="Run the command again.")

    def require_current(self, role: str) -> None:
        """Raise Refused unless `role` still has the password of AWSCURRENT: a rotation of it has changed nothing."""
        if not password_works(self.store.credential.login_in(self.store.read().document, self.app)):
            raise Refused(
                f"{role} does not have the password of AWSCURRENT any more: the rotation cannot be canceled.",
                hint=f"Complete it: {self.read().resume_command}",
            )

    def test_login(self, databases: Sequence[str]) -> None:
        """Log in with the new password to each database, and verify what `create_tenant_dbs` verifies."""
        login = self._pending_login()
        for database in databases:
            verify_tenant(login, database, self.owner)

    def test_master(self) -> None:
        """Log in as the master user with the new password."""
        self._pending_login().connect(MAINTENANCE_DATABASE).close()

    def switch(self) -> None:
        """Make the version of AWSPENDING current."""
        self.store.switch(*self._pending())

    def end(self) -> None:
        """Detach the labels of a rotation whose version is current."""
        self.store.end(self.store.read().version)

    def cancel(self) -> None:
        """Detach the labels of the version of AWSPENDING."""
        version, _ = self._pending()
        if is_current(self.store.read(), version):
            raise Refused(f"The new version of {self.store.name} is current already.", hint="Run the command again.")
        self.store.end(version)

    # Reading.

    def _pending(self) -> tuple[str, NewLogin]:
        """Return version and login of AWSPENDING. Only the secret has the password, so it is read each time."""
        state, credential = self.store.read(), self.store.credential
        pending = credential.pending_in(state)
        if not pending:
            raise Refused(f"The rotation of {self.store.name} was ended by another run.", hint="Run the command again.")
        document = self.store.read_version(pending).document
        login, date = credential.login_in(document, self.app), rotation_dates(document).get(credential.password_key, "")
        former = credential.user_in(state.document)
        return pending, NewLogin(login.user, login.password, self.owner, former, str(date), credential)

    def _pending_login(self) -> Login:
        login = self._pending()[1]
        return replace(self.app, user=login.user, password=login.password)

    def _previous_password(self, user: str) -> Secret[str]:
        try:
            previous = self.app.with_credentials(self.store.read_stage(PREVIOUS).document)
        except DeployError:
            previous = None
        if previous is None or previous.user != user:
            raise Refused(
                f"AWSPREVIOUS of {self.store.name} does not have the login {user}.",
                hint="Rotate to a new password: run the command without --back.",
            )
        return previous.password

    def _read_logins(self, names: Sequence[str]) -> tuple[dict[str, LoginState], ServerState]:
        master = self.connection.info.user
        roles = read_roles(self.connection, [master, self.owner, *names])
        server = ServerState(self.connection.info.server_version, roles[master], roles=roles)
        desired = DesiredState(self.owner, tuple(map(Tenant, self.tenants)))
        members = {login.name: login for login in read_logins(self.connection, desired).get(self.owner, ())}
        rows = self.connection.execute(
            """
            SELECT rolname::text AS name, CASE WHEN isfinite(rolvaliduntil) THEN rolvaliduntil END AS until
            FROM pg_roles WHERE rolname = ANY(%s)
            """,
            [list(names)],
        ).fetchall()
        until = {row.name: row.until.isoformat(timespec="seconds") if row.until else "" for row in rows}
        owner = roles.get(self.owner)
        expected = dict(owner.settings) if owner else {}

        def one(name: str) -> LoginState:
            role, member = roles.get(name), members.get(name)
            has = role.settings if role else {}
            return LoginState(
                name,
                role,
                acts_as_owner=name == self.owner or bool(member and member.can_act and member.sets_role),
                valid_until=until.get(name, ""),
                missing_settings=tuple(key for key in expected if key != "role" and has.get(key) != expected[key]),
                sessions=read_sessions(self.connection, [name]),
            )

        return {name: one(name) for name in names}, server


def read_sessions(connection: Connection, logins: Sequence[str]) -> tuple[LoginSession, ...]:
    """Return the sessions of these logins, the oldest first."""
    rows = connection.execute(
        """
        SELECT pid, application_name::text AS application, coalesce(host(client_addr), 'local') AS address,
               backend_start,
               CASE WHEN state = 'idle' THEN extract(epoch FROM now() - state_change)::float END AS idle
        FROM pg_stat_activity WHERE usename = ANY(%s) AND pid <> pg_backend_pid() ORDER BY backend_start
        """,
        [list(logins)],
    ).fetchall()
    return tuple(
        LoginSession(
            row.pid,
            row.application or "",
            row.address,
            row.backend_start.isoformat(timespec="seconds") if row.backend_start else "an unknown time",
            row.idle,
        )
        for row in rows
    )
