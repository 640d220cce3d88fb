"""AWS Secrets Manager: read one secret, and change it by staging, compare-and-swap and proof (DESIGN.md §5).

The client comes in, so that the same code runs against AWS, against an emulator and against a strict fake.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from deploytools import aws
from deploytools.errors import (
    AwsError,
    NotFound,
    RotationUnderWay,
    SecretBinary,
    SecretConflict,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretNotFound,
)
from deploytools.secret.document import Document, parse
from deploytools.secret.sync import CURRENT, PENDING, SecretState, SyncPlan
from deploytools.secret.value import Secret

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)

#: Our label on a version that is not current yet. Fixed: a label a run would leak one of twenty slots at each crash.
STAGED = "deploytools-pending"

#: How often a write is planned anew because somebody else's came first, and how often a read-back looks again.
WRITE_ATTEMPTS = 4
READ_BACK_ATTEMPTS = 6

Replan = Callable[[SecretState], SyncPlan]


@dataclass(frozen=True)
class SecretStore:
    """One secret in one Region.

    Attributes:
        client: boto3's Secrets Manager client, or something that behaves like it.
        name: name or ARN of the secret.
        region: the Region, for messages.
        sleep: how to wait between two looks, in seconds.
    """

    client: SecretsManagerClient
    name: str
    region: str
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def connect(cls, name: str, region: str) -> SecretStore:
        """The secret `name` in `region`, with credentials from the environment. Asks AWS nothing yet."""
        return cls(aws.client("secretsmanager", region), name, region)

    def read_current(self) -> tuple[str, Document]:
        """Version id and content of AWSCURRENT. Needs ``secretsmanager:GetSecretValue`` only.

        Raises:
            SecretNotFound, SecretEmpty, SecretDeleted, SecretBinary, SecretNotJson: why it cannot be used.
            AwsError: AWS could not be asked.
        """
        try:
            version, text = self._get(VersionStage=CURRENT)
        except AwsError as error:
            raise self._why_unreadable(error) from error
        return version, self._parse(text)

    def read_labelled(self, label: str) -> Document:
        """Content of the version that carries `label`, for example ``AWSPREVIOUS``.

        Raises:
            SecretBinary, SecretNotJson: why it cannot be used.
            AwsError: there is no such version, it is empty, or AWS could not be asked.
        """
        return self._parse(self._get(VersionStage=label)[1])

    def read(self) -> SecretState:
        """The secret with its labels; what a plan starts from. Looks again where AWSCURRENT moves between the two.

        Raises:
            As `read_current`.
        """
        for _ in self._looks():
            version, document = self.read_current()
            labels = self._labels()
            if CURRENT in labels.get(version, ()):
                break
        return SecretState(self.name, self.region, version, document, labels)

    def write(self, plan: SyncPlan, replan: Replan) -> SyncPlan:
        """Apply `plan`; where somebody else wrote meanwhile, plan anew from what they wrote.

        Args:
            plan: what to write; an empty plan writes nothing.
            replan: the plan for another state; may refuse.

        Returns:
            The plan that was applied, equal to `plan` unless somebody else wrote meanwhile.

        Raises:
            RotationUnderWay: a rotation would undo the write, or began during it.
            SecretConflict: others changed a key of this plan, or kept writing; the message says what was written.
            AwsError: AWS could not be asked. Running it again finds out what was written, and writes nothing twice.
        """
        for attempt in range(WRITE_ATTEMPTS):
            if plan.state.pending_version:
                raise self._rotation(plan.state, "nothing was written")
            if plan.is_empty:
                return plan
            self._end_finished_rotation(plan.state)
            self._stage(plan)
            if self._promote(plan):
                self._prove(plan)
                return plan
            logger.info("Somebody else wrote %s meanwhile; planning anew (%d).", self.name, attempt + 1)
            plan = self._next_plan(plan, replan)
        raise SecretConflict(
            f"{self.name} was changed by somebody else {WRITE_ATTEMPTS} times in a row; this run changed nothing.",
            hint="Find out who writes it (CloudTrail: UpdateSecretVersionStage, PutSecretValue), then run it again.",
        )

    # The steps of a write.

    def _rotation(self, state: SecretState, consequence: str) -> RotationUnderWay:
        return RotationUnderWay(
            f"A rotation of {self.name} is under way (AWSPENDING is on version {state.pending_version}); "
            f"it would undo what others write meanwhile, and {consequence}.",
            hint="Wait for it to finish, then run it again. One that failed long ago is ended with: aws secretsmanager "
            f"update-secret-version-stage --secret-id {self.name} --region {self.region} --version-stage {PENDING} "
            f"--remove-from-version-id {state.pending_version}",
        )

    def _end_finished_rotation(self, state: SecretState) -> None:
        """AWS's rotation functions leave AWSPENDING on the version that they made current, where it does no harm.

        It would stay on that version when it is current no more, and read as a rotation under way, to AWS as well.
        """
        if PENDING in state.labels.get(state.version, ()):
            self._remove_label(PENDING, state.version)

    def _stage(self, plan: SyncPlan) -> None:
        """Put the version under our label: AWSCURRENT stays where it is. Repeating it is the same write."""
        with aws.calling("secretsmanager:PutSecretValue", self.name):
            self.client.put_secret_value(
                SecretId=self.name,
                SecretString=plan.after.to_json().reveal(),
                ClientRequestToken=plan.token,
                VersionStages=[STAGED],
            )

    def _promote(self, plan: SyncPlan) -> bool:
        """Move AWSCURRENT from the base to the staged version; False when AWSCURRENT was no longer on the base."""
        try:
            with aws.calling("secretsmanager:UpdateSecretVersionStage", self.name):
                self.client.update_secret_version_stage(
                    SecretId=self.name,
                    VersionStage=CURRENT,
                    MoveToVersionId=plan.token,
                    RemoveFromVersionId=plan.state.version,
                )
        except AwsError as error:
            if self._is_current(plan.token):
                return True  # It took effect and the answer was lost.
            self._drop_label(plan.token)
            if aws.error_code(error) in {"InvalidParameterException", "InvalidRequestException"}:
                return False
            raise
        return True

    def _next_plan(self, plan: SyncPlan, replan: Replan) -> SyncPlan:
        """The plan from what the other writer left, unless they changed a key that this plan changes, too."""
        state = self.read()
        contested = [
            key
            for key, wanted in plan.given.items()
            if state.document.get(key) not in {plan.state.document.get(key), wanted}
        ]
        if contested:
            raise SecretConflict(
                f"Somebody else has just changed {', '.join(contested)} in {self.name}; this run wrote nothing.",
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

    def _get_version(self, version: str) -> Document:
        """What one version holds; one that was just made may not be found everywhere at once."""
        for _ in self._looks():
            with suppress(NotFound):
                return self._parse(self._get(VersionId=version)[1])
        return self._parse(self._get(VersionId=version)[1])

    def _read_back(self, plan: SyncPlan) -> SecretState:
        """The secret once AWSCURRENT names the new version, or one after it that has the keys of this plan, too."""
        for _ in self._looks():
            state = self.read()
            if state.version != plan.state.version:
                break
        lost = [key for key, wanted in plan.given.items() if state.document.get(key) != wanted]
        if lost:
            raise SecretConflict(
                f"{self.name} was written, but AWSCURRENT now names a version without {', '.join(lost)} as given.",
                hint="Find out who wrote after this run (CloudTrail), then run it again.",
            )
        return state

    def _drop_label(self, version: str) -> None:
        """Take our label off `version`. It does no harm where it stays, so a failure is only told."""
        try:
            self._remove_label(STAGED, version)
        except AwsError as error:
            is_elsewhere = aws.error_code(error) == "InvalidParameterException"
            level = logging.DEBUG if is_elsewhere else logging.WARNING
            logger.log(level, "The label %s stays on version %s until the next write: %s", STAGED, version, error)

    def _remove_label(self, label: str, version: str) -> None:
        with aws.calling("secretsmanager:UpdateSecretVersionStage", self.name):
            self.client.update_secret_version_stage(SecretId=self.name, VersionStage=label, RemoveFromVersionId=version)

    # Reading.

    def _looks(self) -> Iterator[None]:
        """One turn for each time that it is worth looking, with longer and longer waits between."""
        for attempt in range(READ_BACK_ATTEMPTS):
            if attempt:
                self.sleep(0.05 * 2**attempt)
            yield

    def _get(self, **which: str) -> tuple[str, Secret[str | None]]:
        """Version id and text; None instead of the text where the value is binary."""
        with aws.calling("secretsmanager:GetSecretValue", f"the secret {self.name} in {self.region}"):
            answer = self.client.get_secret_value(SecretId=self.name, **which)
        return answer["VersionId"], Secret(answer.get("SecretString"))

    def _describe(self) -> Mapping[str, Any]:
        with aws.calling("secretsmanager:DescribeSecret", f"the secret {self.name} in {self.region}"):
            return self.client.describe_secret(SecretId=self.name)

    def _labels(self) -> dict[str, tuple[str, ...]]:
        stages = self._describe().get("VersionIdsToStages") or {}
        return {version: tuple(labels) for version, labels in stages.items()}

    def _is_current(self, version: str) -> bool:
        return CURRENT in self._labels().get(version, ())

    def _parse(self, text: Secret[str | None]) -> Document:
        if text.reveal() is None:
            raise SecretBinary(
                f"The secret {self.name} holds binary data (SecretBinary), not text.",
                hint="Something else writes it, or it is another secret: check DB_SECRET_NAME.",
            )
        return parse(cast(Secret[str], text), source=f"The secret {self.name}")

    def _why_unreadable(self, error: AwsError) -> Exception:
        """Absent, empty, or scheduled for deletion: AWS's codes tell them apart only with DescribeSecret."""
        if not isinstance(error, NotFound) and aws.error_code(error) != "InvalidRequestException":
            return error
        where = f"{self.name} in {self.region}"
        try:
            description = self._describe()
        except NotFound:
            return SecretNotFound(
                f"There is no secret {where}.",
                hint="Check DB_SECRET_NAME, AWS_REGION and the account: aws sts get-caller-identity; "
                f"aws secretsmanager list-secrets --region {self.region}",
            )
        except AwsError:
            return SecretNotFound(
                f"There is no secret {where} with a value (and secretsmanager:DescribeSecret may not be asked).",
                hint="Check DB_SECRET_NAME and AWS_REGION.",
            )
        if "DeletedDate" in description:
            return SecretDeleted(
                f"The secret {where} is scheduled for deletion.",
                hint=f"Bring it back: aws secretsmanager restore-secret --secret-id {self.name} --region {self.region}",
            )
        if isinstance(error, NotFound):
            return SecretEmpty(
                f"The secret {where} exists and has no value yet.",
                hint="Put a first value: aws secretsmanager put-secret-value --secret-string file://FILE",
            )
        return error
