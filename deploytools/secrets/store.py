"""Write, roll back and create one secret, without overwriting the changes of other writers.

A write puts a new version under the label `STAGED`, reads it back, and only then moves AWSCURRENT from the version that
the plan is based on to the new one. AWS rejects the move if AWSCURRENT is attached to another version by then
(compare-and-swap). A rotation would overwrite such a write, so nothing is written while one is in progress.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from deploytools import aws
from deploytools.errors import (
    AwsError,
    DeployError,
    Refused,
    RotationInProgress,
    SecretConflict,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretExists,
    SecretNotFound,
)
from deploytools.secrets.document import Document, Secret
from deploytools.secrets.plan import RollbackPlan, SecretState, SyncPlan
from deploytools.secrets.progress import ChangeProgress, Live
from deploytools.secrets.reader import SecretReader, replicas_of
from deploytools.secrets.versions import CURRENT, PENDING, PREVIOUS, STAGED, short_id
from deploytools.wording import one_line, printable

logger = logging.getLogger(__name__)

#: Attempts to write while other writers keep changing the secret.
WRITE_ATTEMPTS = 4

#: Reads of the replication's status: some 50 seconds.
REPLICATION_ATTEMPTS = 10

AGAIN = "run the command again"

#: AWS's error codes if AWSCURRENT is not attached to the version that it is to be moved from.
REJECTED_MOVE = {"InvalidParameterException", "InvalidRequestException"}

Replan = Callable[[SecretState], SyncPlan]


@dataclass(frozen=True)
class SecretStore(SecretReader):
    """One secret in one Region, to read, create and write.

    Every error of a change says whether the change is live: `progress` knows.

    Attributes:
        command: the command that shows and rolls back this secret, for hints. Empty: there is none.
        tenant: the tenant whose own secret it is, for hints. Empty: the shared secret.
    """

    command: str = "python manage.py sync_secrets"
    tenant: str = ""
    progress: ChangeProgress = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "progress", ChangeProgress(self.name, self.region, self.command))

    def require_writable(self, state: SecretState) -> None:
        """Check that a change can be made and is not lost.

        Raises:
            RotationInProgress: a rotation would overwrite the change.
            Refused: the secret is a replica.
        """
        if state.primary_region not in ("", self.region):
            raise Refused(
                f"The secret {self.name} in {self.region} is a replica, which cannot be changed. Its primary secret is "
                f"in {state.primary_region}. Nothing was changed.",
                hint=f'Set DEPLOYTOOLS["REGION"] to {state.primary_region} for this command.',
            )
        if state.pending_version:
            raise self._rotation_error(state)

    def write(self, plan: SyncPlan, replan: Replan) -> SyncPlan:
        """Apply `plan`. If another writer changes the secret in the meantime, plan again from the new state.

        Args:
            replan: computes the plan for another state, or raises.

        Returns:
            The applied plan. It is empty although `plan` was not if another writer has written the same values; a
            version that this call created is then not current.

        Raises:
            RotationInProgress: a rotation would overwrite the write, or started during it.
            SecretConflict: another writer changed a key of this plan, or kept writing.
            AwsError: AWS could not be queried. Another run of the same plan writes nothing twice.
        """
        with self._explained("the new values"):
            staged: dict[str, SyncPlan] = {}
            for attempt in range(WRITE_ATTEMPTS):
                # The response to a move can be lost, and old reads might not show it.
                if done := staged.get(plan.state.version):
                    self.progress.move(plan.state.version, done.state.version)
                    self._verify(done, plan.state.version)
                    return done
                self.require_writable(plan.state)
                if plan.is_empty:
                    return plan
                self._end_finished_rotation(plan.state)
                version = self._stage(plan.token, plan.after.to_json())
                staged[version] = plan
                if self._verify_and_promote(plan, version):
                    self._verify(plan, version)
                    return plan
                self._drop_label(version)
                logger.info("Another writer changed %s; planning again (%d).", self.name, attempt + 1)
                plan = self._next_plan(plan, replan)
            raise SecretConflict(
                f"{self.name} was changed by another writer {WRITE_ATTEMPTS} times in a row.",
                hint=f"Find the writer in CloudTrail (UpdateSecretVersionStage, PutSecretValue), then {AGAIN}.",
            )

    def roll_back(self, plan: RollbackPlan) -> None:
        """Apply `plan`: move AWSCURRENT to an existing version, by the same compare-and-swap as a write.

        Raises:
            RotationInProgress: a rotation would overwrite the rollback, or started during it.
            SecretConflict: another writer changed the secret; the message says what was done.
            AwsError: AWS could not be queried. The hint's command, with the version, completes the rollback.
        """
        with self._explained("the requested values"):
            self.require_writable(plan.state)
            if plan.is_empty:
                return
            again = f"{self.command} --rollback {short_id(plan.version)}"
            self._end_finished_rotation(plan.state)
            try:
                moved = self._promote(plan.version, plan.state.version)
            except AwsError as error:
                error.hint = f"{error.hint.rstrip('.')}. Then complete the rollback, with the version: {again}"
                raise
            if not moved:
                raise SecretConflict(
                    f"{self.name} was changed by another writer.",
                    hint=f"Check the change with --show and in CloudTrail. To roll back nevertheless, run: {again}",
                )
            state = self._read_until_moved(plan.state.version)
            if state.version != plan.version:
                raise self._replaced_error(state, again=f"then run: {again}")
            self._finish(state)

    def create(self, document: Document, *, tags: Mapping[str, str] | None = None, kms_key_id: str = "") -> str:
        """Create the secret with `document` as its first value, or give an existing secret its first value.

        If the secret already has this value, nothing is written. The new version's ID is random: CloudTrail shows it,
        and a document without a random value could be guessed from a hash.

        Args:
            tags: tags of a new secret; CloudTrail shows them. An existing secret gets neither tags nor the key.
            kms_key_id: ID, ARN or alias of the KMS key of a new secret. Empty: ``aws/secretsmanager``.

        Returns:
            The current version, which has this value.

        Raises:
            SecretExists: the secret has another value; nothing was written.
            SecretDeleted: the secret is scheduled for deletion; nothing was written.
            Refused: the secret exists without a value, and tags or a key were given; nothing was written.
            SecretTooLarge: the document is too large.
            AwsError: AWS could not be queried. Another run finds out what was created.
        """
        with self._explained("the new values"):
            return self._create(document, tags or {}, kms_key_id)

    def _create(self, document: Document, tags: Mapping[str, str], kms_key_id: str) -> str:
        text = document.to_json()
        token = secrets.token_hex(32)
        request: dict[str, Any] = {"Name": self.name, "ClientRequestToken": token}
        if tags:
            request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        if kms_key_id:
            request["KmsKeyId"] = kms_key_id
        for _ in self._retries():
            state = self._existing(document)
            if isinstance(state, str):
                return state
            if state is SecretEmpty and (tags or kms_key_id):
                raise self.exists_without_value_error()
            self.progress.move(token)
            created = self._put_first(token, text) if state is SecretEmpty else self._try_create(request, text)
            if created:
                self.progress.move(created)
                self.progress.settle(Live.YES)
                self._verify_first(created, document)
                return created
            self.progress.settle(Live.NO)
        raise SecretError(
            f"{self.name} can neither be created nor read in {self.region}: the name is in use.",
            hint="Wait a minute if it was deleted just now. Otherwise allow secretsmanager:DescribeSecret on it.",
        )

    # Errors.

    def already_exists_error(self) -> SecretExists:
        return SecretExists(
            f"The secret {self.name} already exists in {self.region} with other content. Nothing was changed.",
            hint="Without --create, values are merged into it and no key is lost: python manage.py sync_secrets FILE",
        )

    def exists_without_value_error(self) -> Refused:
        return Refused(
            f"The secret {self.name} already exists in {self.region} without a value. --secret-tag and --kms-key-id "
            "apply only to a new secret. Nothing was changed.",
            hint="Remove these options. To change the existing secret, run: aws secretsmanager tag-resource, or "
            f"aws secretsmanager update-secret --kms-key-id ID, each with --secret-id {self.name} "
            f"--region {self.region}",
        )

    def _rotation_error(self, state: SecretState) -> RotationInProgress:
        pending = short_id(state.pending_version or "", state.labels)
        consequence, then = "overwrites changes made in the meantime", AGAIN
        if self.progress.live is not Live.NO:
            consequence, then = "can overwrite this change", "check the secret"
        error = RotationInProgress(
            f"A rotation of {self.name} is in progress (AWSPENDING is on version {pending}) and {consequence}.",
            hint=f"Wait for it to finish, then {then}. {state.how_to_end(self.tenant)}",
        )
        self.progress.explain(error)
        return error

    def _replaced_error(self, state: SecretState, *, keys: str = "", again: str = f"then {AGAIN}") -> DeployError:
        if state.version == self.progress.version:
            return self._content_error(state.version)
        if state.version == self.progress.base:
            self.progress.settle(Live.UNKNOWN, state.version)
            return SecretConflict(
                f"AWS still returns version {short_id(state.version)} of {self.name}, or another writer moved "
                "AWSCURRENT back.",
                hint="Wait a minute",
            )
        self.progress.settle(Live.REPLACED, state.version)
        return SecretConflict(
            f"Another writer has changed {keys or self.name} since then.",
            hint=f"Find the writer in CloudTrail, {again}",
        )

    def _content_error(self, version: str) -> SecretError:
        return SecretError(
            f"Version {short_id(version)} of {self.name} does not contain what was written.",
            hint="Find the other writer in CloudTrail (CreateSecret, PutSecretValue)",
        )

    @contextmanager
    def _explained(self, subject: str) -> Iterator[None]:
        """Make each error of the change say whether it is live."""
        self.progress.start(subject)
        try:
            yield
        except DeployError as error:
            self.progress.explain(error)
            raise

    # Steps of all changes.

    def _stage(self, version: str, text: Secret[str]) -> str:
        """Put a version under `STAGED` and return its ID. A repeated call is the same write."""

        def put() -> Any:
            return self.client.put_secret_value(
                SecretId=self.name, SecretString=text.reveal(), ClientRequestToken=version, VersionStages=[STAGED]
            )

        return str(self._ask("PutSecretValue", "VersionId", put)["VersionId"])

    def _verify_and_promote(self, plan: SyncPlan, version: str) -> bool:
        """Read the staged version back, then make it current; return False if another writer moved AWSCURRENT."""
        try:
            if self._get_version(version) != plan.after:
                raise self._content_error(version)
            return self._promote(version, plan.state.version)
        except DeployError:
            self._drop_label(version)
            raise

    def _promote(self, version: str, base: str) -> bool:
        """Move AWSCURRENT from `base` to `version`; return False if it was not attached to `base`."""
        self.progress.move(version, base)
        try:
            self._move_label(CURRENT, MoveToVersionId=version, RemoveFromVersionId=base)
        except AwsError as error:
            is_rejected_move = aws.error_code(error) in REJECTED_MOVE
            if aws.is_certain(error) and not is_rejected_move:
                self.progress.settle(Live.NO)
                raise
            if not self._has_moved(version, base):
                if aws.is_certain(error) or (aws.was_rejected(error) and not is_rejected_move):
                    self.progress.settle(Live.NO)
                if is_rejected_move:
                    return False
                raise
        self.progress.settle(Live.YES)
        return True

    def _has_moved(self, version: str, base: str) -> bool:
        """Return whether AWSCURRENT is attached to `version`. `base` can be an outdated read, so it is read again."""
        for _ in self._retries():
            labels = self._labels()
            if CURRENT not in labels.get(base, ()):
                break
        return CURRENT in labels.get(version, ())

    def _read_until_moved(self, base: str) -> SecretState:
        """Read until AWSCURRENT is not attached to `base`, or all attempts are used up."""
        for _ in self._retries():
            state = self.read()
            if state.version != base:
                break
        return state

    def _end_finished_rotation(self, state: SecretState) -> None:
        """Detach AWSPENDING from the current or the previous version.

        AWS's rotation functions leave it there, where it does no harm. After the next write it would be on an older
        version, where AWS and this module would take it for a rotation in progress.
        """
        if stale := state.stale_pending_version:
            self._move_label(PENDING, RemoveFromVersionId=stale)

    def _drop_label(self, version: str) -> None:
        """Detach `STAGED` from `version`. A failure is only logged: a leftover label is harmless."""
        try:
            self._move_label(STAGED, RemoveFromVersionId=version)
        except AwsError as error:
            is_elsewhere = aws.error_code(error) == "InvalidParameterException"
            level = logging.DEBUG if is_elsewhere else logging.WARNING
            logger.log(level, "Version %s keeps the label %s until the next write: %s", version, STAGED, error)

    def _move_label(self, label: str, **versions: str) -> None:
        call = partial(self.client.update_secret_version_stage, SecretId=self.name, VersionStage=label, **versions)
        self._ask("UpdateSecretVersionStage", "Name", call)

    def _finish(self, state: SecretState) -> None:
        """Wait for the replicas, detach our label, and check for a rotation that started meanwhile.

        Args:
            state: as read after the move of AWSCURRENT, which shows the change.
        """
        self.progress.verify(state.version)
        state = self._wait_for_replicas(state)
        busy, failed = (
            [region for region, (status, _) in state.replicas.items() if status == wanted]
            for wanted in ("InProgress", "Failed")
        )
        if STAGED in state.labels.get(self.progress.version, ()) and not busy:
            self._drop_label(self.progress.version)
        if state.pending_version:
            raise self._rotation_error(state)
        if busy or failed:
            raise self._replication_error(state, busy, failed)

    def _wait_for_replicas(self, state: SecretState) -> SecretState:
        """Read until no replica is in progress: another move of a label could leave the replication stuck."""
        for _ in self._retries(REPLICATION_ATTEMPTS):
            if not any(status == "InProgress" for status, _ in state.replicas.values()):
                break
            state = replace(state, replicas=replicas_of(self._describe()))
        return state

    def _replication_error(self, state: SecretState, busy: list[str], failed: list[str]) -> SecretError:
        if not failed:
            return SecretError(
                f"The replication of {self.name} to {', '.join(busy)} is still in progress.",
                hint="Wait for it: aws secretsmanager describe-secret shows ReplicationStatus",
            )
        messages = "; ".join(f"{region}: {state.replicas[region][1] or 'no reason given'}" for region in failed)
        return SecretError(
            f"The replication of {self.name} failed ({one_line(messages)}).",
            hint=f"Fix the reason, then run: aws secretsmanager replicate-secret-to-regions --secret-id {self.name} "
            f"--region {self.region} --add-replica-regions Region={failed[0]} --force-overwrite-replica-secret",
        )

    # Steps of a write.

    def _next_plan(self, plan: SyncPlan, replan: Replan) -> SyncPlan:
        """Plan again, unless the other writer changed a key of `plan`."""
        state = self.read()
        if state.version not in (plan.state.version, self.progress.version):
            self.progress.settle(Live.NO)
        contested = [
            key
            for key, desired in plan.desired.items()
            if key not in plan.filled and state.document.get(key) not in {plan.state.document.get(key), desired}
        ]
        if contested:
            raise SecretConflict(
                f"Another writer changed {printable(*contested)} in {self.name}.",
                hint=f"Find the writer in CloudTrail. To overwrite its values with yours, {AGAIN}.",
            )
        return replan(state)

    def _verify(self, plan: SyncPlan, version: str) -> None:
        """Read until AWSCURRENT is the new version, or a later one with the same values of the plan's keys."""
        state = self._read_until_moved(plan.state.version)
        lost = [key for key, desired in plan.desired.items() if state.document.get(key) != desired]
        if lost:
            raise self._replaced_error(state, keys=printable(*lost))
        self._finish(state)

    # Steps of a creation.

    def _existing(self, document: Document) -> str | type[SecretError]:
        """Return the version that has `document` already, or the error class of a secret without a value."""
        try:
            version, stored = self.read_current()
        except (SecretNotFound, SecretEmpty) as error:
            return type(error)
        except SecretDeleted:
            raise
        except SecretError as error:
            raise self.already_exists_error() from error
        if stored != document:
            raise self.already_exists_error()
        return version

    def _try_create(self, request: Mapping[str, Any], text: Secret[str]) -> str:
        """Create the secret and return its version; empty: another writer did, or the name is not available yet."""
        action = "secretsmanager:CreateSecret"
        try:
            with aws.translate_aws_errors(action, self.name):
                response = self.client.create_secret(**request, SecretString=text.reveal())
        except AwsError as error:
            if aws.error_code(error) in {"ResourceExistsException", "InvalidRequestException"}:
                return ""
            if aws.is_certain(error):
                self.progress.settle(Live.NO)
            raise
        if not response.get("VersionId"):
            raise aws.incomplete_response(action, self.name)
        return response["VersionId"]

    def _put_first(self, token: str, text: Secret[str]) -> str:
        """Put the first version of a secret and return it; empty: another writer's came first, or no read shows it."""
        token = self._stage(token, text)
        if not any(CURRENT in labels for labels in self._labels().values()):
            self._take_current(token)
        labels = self._labels().get(token, ())
        self._drop_label(token)
        return token if CURRENT in labels or PREVIOUS in labels else ""

    def _take_current(self, token: str) -> None:
        """Attach AWSCURRENT to our version if no version has it. AWS mostly attaches it to the first one itself."""
        try:
            self._move_label(CURRENT, MoveToVersionId=token)
        except AwsError as error:
            if aws.error_code(error) != "InvalidParameterException":  # Another version has it by now.
                raise

    def _verify_first(self, token: str, document: Document) -> None:
        """Read back by version, then by label: AWSCURRENT is this version, or a later one with the same values."""
        if self._get_version(token) != document:
            raise self._content_error(token)
        for _ in self._retries():
            with suppress(SecretNotFound, SecretEmpty):
                version, stored = self.read_current()
                if stored.merge(document) == stored:
                    self.progress.verify(version)
                    return
        raise SecretConflict(
            f"{self.name} was created, but AWSCURRENT is not attached to a version with these values.",
            hint=f"Find the other writer in CloudTrail, then {AGAIN}.",
        )
