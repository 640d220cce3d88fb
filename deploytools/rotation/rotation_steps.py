"""The steps of a rotation: what each one says, its SQL, what it requires before and verifies after. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.sql import Composed

from deploytools.errors import DatabaseError
from deploytools.tenants.operations import CatalogCheck, Operation, compose, must_be_false
from deploytools.wording import count, join_names

if TYPE_CHECKING:
    from deploytools.rotation.rotator import Rotator

#: Seconds that a session must have been idle before it is ended: between two requests, not between two statements.
IDLE = 10


@dataclass(frozen=True)
class CreateSecondLogin(Operation):
    """Create the second login. It cannot log in yet."""

    role: str
    limit: int

    description = "create role {role}, the second login (NOLOGIN)"
    statement = "CREATE ROLE {role} NOLOGIN CONNECTION LIMIT {limit}"


@dataclass(frozen=True)
class CopySettings(Operation):
    """Copy settings of the owner (ALTER ROLE … SET), which a login does not take over from it."""

    owner: str
    role: str
    names: tuple[str, ...]

    def describe(self) -> str:
        return f"copy settings of {self.owner} to {self.role}: {join_names(list(self.names))}"

    def sql(self, scram_verifier: str = "") -> Composed:
        """FROM CURRENT also copies a list, for example ``search_path``, as it is."""
        body = compose(
            "DECLARE entry text; BEGIN FOR entry IN SELECT unnest(setconfig) FROM pg_db_role_setting "
            "WHERE setdatabase = 0 AND setrole = {owner}::regrole LOOP "
            "CONTINUE WHEN lower(split_part(entry, '=', 1)) <> ALL ({names}); "
            "PERFORM set_config(split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1), true); "
            "EXECUTE format('ALTER ROLE %I SET %I FROM CURRENT', {role}, split_part(entry, '=', 1)); END LOOP; END",
            owner=compose("{}", self.owner).as_string(None),
            role=self.role,
            names=list(self.names),
        )
        return compose("DO {body}", body=body.as_string(None))


@dataclass(frozen=True)
class CreateVersion(Operation):
    """Create the version with the new password, under AWSPENDING: the lock against any other rotation."""

    secret: str
    login: str

    description = "create a version of {secret} with login {login} and a new password (AWSPENDING)"

    def execute(self, rotator: Rotator) -> None:
        rotator.create_version()


@dataclass(frozen=True)
class OpenLogin(Operation):
    """Set the password, which alone neither enables the login nor removes an expiry date."""

    role: str

    description = "set the new password of role {role}, with LOGIN and without an expiry date"
    statement = "ALTER ROLE {role} LOGIN PASSWORD {verifier} VALID UNTIL 'infinity'"
    sets_password = True

    def execute(self, rotator: Rotator) -> None:
        rotator.require_pending(self.role)
        rotator.require_unused(self.role)
        rotator.execute_sql(self)


@dataclass(frozen=True)
class SetMasterPassword(OpenLogin):
    """Set the master user's password, as itself: it has no ADMIN OPTION on itself to change anything else."""

    description = "set the new password of the master user {role}"
    statement = "ALTER ROLE {role} PASSWORD {verifier}"


@dataclass(frozen=True)
class TestMaster(Operation):
    """Log in as the master user with the new password."""

    __test__ = False  # Not a test of pytest.

    role: str

    description = "log in as {role} with the new password"

    def execute(self, rotator: Rotator) -> None:
        rotator.test_master()


@dataclass(frozen=True)
class TestLogin(Operation):
    """Log in with the new password to each tenant's database, before any process does."""

    __test__ = False  # Not a test of pytest.

    role: str
    owner: str
    databases: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def describe(self) -> str:
        where = count(len(self.databases), "tenant database")
        absent = f" (not to {join_names(self.missing)}: no connections)" if self.missing else ""
        return f"log in as {self.role} to {where}{absent}, and verify that it acts as {self.owner}"

    def execute(self, rotator: Rotator) -> None:
        rotator.test_login(self.databases)


@dataclass(frozen=True)
class Switch(Operation):
    """Make the new version current. New connections use it from now on."""

    secret: str
    login: str

    description = "move AWSCURRENT of {secret} to the version with login {login}"

    def execute(self, rotator: Rotator) -> None:
        rotator.switch()


@dataclass(frozen=True)
class EndRotation(Operation):
    """Detach the labels of the rotation."""

    secret: str

    description = "remove AWSPENDING from the version of {secret} that is current"

    def execute(self, rotator: Rotator) -> None:
        rotator.end()


@dataclass(frozen=True)
class TestCurrent(Operation):
    """Verify that the role still has its password, before the rotation that would change it is canceled."""

    __test__ = False  # Not a test of pytest.

    role: str

    description = "log in as {role} with the password of AWSCURRENT"

    def execute(self, rotator: Rotator) -> None:
        rotator.require_current(self.role)


@dataclass(frozen=True)
class CancelVersion(Operation):
    """Detach the labels of the rotation from a version that never became current."""

    secret: str

    description = "remove AWSPENDING from the new version of {secret}; AWSCURRENT stays"

    def execute(self, rotator: Rotator) -> None:
        rotator.cancel()


@dataclass(frozen=True)
class LimitLogin(Operation):
    """Let PostgreSQL close the former login by its own clock."""

    role: str
    seconds: int

    def describe(self) -> str:
        hours, rest = divmod(self.seconds, 3600)
        duration = f"{self.seconds} s" if rest else f"{hours} h"
        return f"let the password of role {self.role} expire in {duration} (VALID UNTIL)"

    def sql(self, scram_verifier: str = "") -> Composed:
        body = compose(
            "BEGIN EXECUTE format('ALTER ROLE %I VALID UNTIL %L', {role}, now() + make_interval(secs => {seconds})); "
            "END",
            role=self.role,
            seconds=self.seconds,
        )
        return compose("DO {body}", body=body.as_string(None))


@dataclass(frozen=True)
class EndSessions(Operation):
    """Terminate sessions of the former login.

    Attributes:
        idle: only those that have been idle for so many seconds; 0: all.
    """

    role: str
    idle: int

    def describe(self) -> str:
        which = f"sessions of {self.role} that are idle for {self.idle} s and more" if self.idle else ""
        return f"terminate {which or f'all sessions of {self.role}'}"

    def sql(self, scram_verifier: str = "") -> Composed:
        if not self.idle:
            return compose(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {role}", role=self.role
            )
        return compose(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {role} AND state = 'idle' "
            "AND state_change < now() - make_interval(secs => {idle})",
            role=self.role,
            idle=self.idle,
        )


@dataclass(frozen=True)
class CloseLogin(Operation):
    """Close a login. Without NOLOGIN, each session of the owner could give it a password again.

    Attributes:
        is_forced: also if sessions use it.
    """

    role: str
    is_forced: bool = False

    description = "close role {role} (NOLOGIN, no password)"
    statement = "ALTER ROLE {role} NOLOGIN PASSWORD NULL"

    def precondition(self) -> tuple[CatalogCheck, ...]:
        return () if self.is_forced else (_no_session(self.role),)

    def verify(self) -> tuple[CatalogCheck, ...]:
        query = "SELECT rolcanlogin AS remains FROM pg_roles WHERE rolname = %s"
        error = DatabaseError(f"{self.role} can still log in.", hint="Run the command again.")
        return (must_be_false(query, [self.role], error),)

    def execute(self, rotator: Rotator) -> None:
        rotator.require_former(self.role)
        rotator.execute_sql(self)


def _no_session(role: str) -> CatalogCheck:
    error = DatabaseError(
        f"A session of {role} was opened since the plan was made; it was not closed.", hint="Run the command again."
    )
    return must_be_false("SELECT count(*) > 0 AS remains FROM pg_stat_activity WHERE usename = %s", [role], error)
