"""Rotate Django's SECRET_KEY: one phase a run."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deploytools.errors import DeployError
from deploytools.postgres.connections import Connection, translate_database_errors
from deploytools.rotation.key_phases import KeyPhase, key_state, leaked_phase, next_phase, require_restarted, version_of
from deploytools.rotation.rotator import read_sessions
from deploytools.secrets.contract import DJANGO, DJANGO_KEY
from deploytools.secrets.document import Document
from deploytools.secrets.inputs import generate
from deploytools.secrets.plan import SecretState, SyncPlan, plan_sync
from deploytools.secrets.store import SecretStore

#: Sessions of these commands: they sign nothing.
OWN = "deploytools"


@dataclass(frozen=True)
class KeyRotator:
    """The key in one secret.

    Attributes:
        connection: the master user's session.
        logins: the roles that the application logs in as.
        validity: how long a signature must stay valid.
    """

    connection: Connection
    store: SecretStore
    logins: Sequence[str]
    validity: timedelta

    def plan(self, *, is_leaked: bool = False, restarted: bool = False) -> tuple[KeyPhase, SyncPlan]:
        """Return the next phase and the write that it is.

        Args:
            restarted: whether all processes are known to have been restarted; their sessions are not checked.

        Raises:
            Refused: a process has not read the result of the last phase, or the former key is still needed.
            RotationInProgress: a rotation of the password is in progress.
        """
        state = self.store.read()
        self.store.require_writable(state)
        generated = generate(DJANGO, secrets.choice, only=[DJANGO_KEY])
        now, new_key = datetime.now(UTC), str(generated[DJANGO_KEY].reveal())
        if is_leaked:
            phase = leaked_phase(state.document, new_key, now)
        else:
            phase = next_phase(state.document, new_key, now, self.validity)
            if not restarted:
                self._require_restarted(state)
        return phase, plan_sync(state, Document(phase.given), unset=phase.unset, stage="launch")

    def apply(self, plan: SyncPlan) -> None:
        """Write the secret.

        Raises:
            SecretConflict: another writer changed it since the plan was made.
        """

        def replan(state: SecretState) -> SyncPlan:
            return plan_sync(state, plan.given, unset=plan.unset, stage="launch")

        self.store.write(plan, replan)

    def _require_restarted(self, state: SecretState) -> None:
        with translate_database_errors("read the sessions of the application"):
            sessions = [s for s in read_sessions(self.connection, self.logins) if s.application != OWN]
        wanted = key_state(state.document)
        versions = {version_of(session) for session in sessions} - {""}
        ids = [version.id for version in self.store.list_versions()] if versions else []

        def has_read(prefix: str) -> bool:
            found = [version for version in ids if version.startswith(prefix)]
            with suppress(DeployError):  # A version that AWS has deleted is an old one.
                return bool(found) and all(key_state(self.store.read_version(v).document) == wanted for v in found)
            return False

        require_restarted(sessions, {prefix: has_read(prefix) for prefix in versions})
