"""AWS Secrets Manager: change one secret by staging, compare-and-swap and proof (DESIGN.md §5)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from deploytools import aws
from deploytools.errors import AwsError, SecretConflict, SecretError
from deploytools.secret.creation import SecretCreation
from deploytools.secret.labels import STAGED
from deploytools.secret.rollback import RollbackPlan
from deploytools.secret.sync import SecretState, SyncPlan

logger = logging.getLogger(__name__)

#: How often a write is planned anew because somebody else's came first.
WRITE_ATTEMPTS = 4

Replan = Callable[[SecretState], SyncPlan]


class SecretStore(SecretCreation):
    """One secret in one Region, to read, to create and to write."""

    def write(self, plan: SyncPlan, replan: Replan) -> SyncPlan:
        """Apply `plan`; where somebody else wrote meanwhile, plan anew from what they wrote.

        Args:
            plan: what to write; an empty plan writes nothing.
            replan: the plan for another state; may refuse.

        Returns:
            The plan that was applied, equal to `plan` unless somebody else wrote meanwhile. An empty one for a `plan`
            that was not: what was asked for has come to be there, and a version that was made here is not current.

        Raises:
            RotationUnderWay: a rotation would undo the write, or began during it.
            SecretConflict: others changed a key of this plan, or kept writing; the message says what was written.
            AwsError: AWS could not be asked. Running it again finds out what was written, and writes nothing twice.
        """
        staged: dict[str, SyncPlan] = {}
        for attempt in range(WRITE_ATTEMPTS):
            if done := staged.get(plan.state.version):  # Its answer was lost, and old reads hid that it is current.
                self._prove(done)
                return done
            if plan.state.pending_version:
                raise self._rotation(plan.state, "nothing was written")
            if plan.is_empty:
                return plan
            self._end_finished_rotation(plan.state)
            staged[plan.token] = plan
            self._stage(plan)
            if self._promote(plan.token, plan.state.version):
                self._prove(plan)
                return plan
            self._drop_label(plan.token)
            logger.info("Somebody else wrote %s meanwhile; planning anew (%d).", self.name, attempt + 1)
            plan = self._next_plan(plan, replan)
        raise SecretConflict(
            f"{self.name} was changed by somebody else {WRITE_ATTEMPTS} times in a row; "
            "AWSCURRENT stays where they put it.",
            hint="Find out who writes it (CloudTrail: UpdateSecretVersionStage, PutSecretValue), then run it again.",
        )

    def roll_back(self, plan: RollbackPlan) -> None:
        """Apply `plan`: the same compare-and-swap as a write, towards a version that is there. Never planned anew.

        Raises:
            RotationUnderWay: a rotation would undo it, or began during it.
            SecretConflict: somebody else wrote meanwhile, or right after; the message says what was done.
            AwsError: AWS could not be asked. Running it again *with the version* finds out what was done.
        """
        again = f"python manage.py sync_secrets --rollback {plan.version}"
        try:
            self._move_back(plan, again)
        except AwsError as error:
            error.hint = f"{error.hint.rstrip('.')}; then name the version, lest it goes forward again: {again}"
            raise

    def _move_back(self, plan: RollbackPlan, again: str) -> None:
        """The steps of a way back.

        Args:
            again: the command that goes the same way again, whatever has been done.
        """
        if plan.state.pending_version:
            raise self._rotation(plan.state, "nothing was written", f"run: {again}")
        if plan.is_empty:
            return
        self._end_finished_rotation(plan.state)
        if not self._promote(plan.version, plan.state.version):
            raise SecretConflict(
                f"Somebody else has just written {self.name}; AWSCURRENT stayed where they put it.",
                hint=f"Look at what they changed (--show; CloudTrail), then, if it is still meant: {again}",
            )
        state = self._look_until_moved(plan.state.version)
        if state.version != plan.version:
            raise SecretConflict(
                f"{self.name} was rolled back, but AWSCURRENT names version {state.version} now.",
                hint=f"Find out who wrote after this run (CloudTrail), then, if it is still meant: {again}",
            )
        if state.pending_version:
            raise self._rotation(state, "this rollback came in between and may get lost", f"run: {again}")

    # The steps of a write.

    def _stage(self, plan: SyncPlan) -> None:
        """Put the version under our label: AWSCURRENT stays where it is. Repeating it is the same write."""
        with aws.calling("secretsmanager:PutSecretValue", self.name):
            self.client.put_secret_value(
                SecretId=self.name,
                SecretString=plan.after.to_json().reveal(),
                ClientRequestToken=plan.token,
                VersionStages=[STAGED],
            )

    def _next_plan(self, plan: SyncPlan, replan: Replan) -> SyncPlan:
        """The plan from what the other writer left, unless they changed a key that this plan changes, too."""
        state = self.read()
        contested = [
            key
            for key, wanted in plan.wanted.items()
            if key not in plan.filled and state.document.get(key) not in {plan.state.document.get(key), wanted}
        ]
        if contested:
            raise SecretConflict(
                f"Somebody else has just changed {', '.join(contested)} in {self.name}; "
                "AWSCURRENT stays where they put it.",
                hint="Look at who did (CloudTrail), then run it again to put your value over theirs.",
            )
        return replan(state)

    def _prove(self, plan: SyncPlan) -> None:
        """Read back by version and by label, take our label off, look for a rotation that began meanwhile."""
        if self._get_version(plan.token) != plan.after:
            raise SecretError(
                f"Version {plan.token} of {self.name} does not hold what was written.",
                hint="Compare it with AWSPREVIOUS by hand before anything else is changed.",
            )
        state = self._read_back(plan)
        self._drop_label(plan.token)
        if state.pending_version:
            raise self._rotation(state, "this write came in between and may get lost")

    def _read_back(self, plan: SyncPlan) -> SecretState:
        """The secret once AWSCURRENT names the new version, or one after it that has the keys of this plan, too."""
        state = self._look_until_moved(plan.state.version)
        lost = [key for key, wanted in plan.wanted.items() if state.document.get(key) != wanted]
        if lost:
            raise SecretConflict(
                f"{self.name} was written, but AWSCURRENT now names a version without {', '.join(lost)} as given.",
                hint="Find out who wrote after this run (CloudTrail), then run it again.",
            )
        return state

    def _look_until_moved(self, base: str) -> SecretState:
        """The secret once AWSCURRENT is no longer seen on `base`, or as it is after a number of looks."""
        for _ in self._looks():
            state = self.read()
            if state.version != base:
                break
        return state
